"""A draw is the same in any batch, in any order and by any way to compute it, and has the masks of `DropoutRNG`."""

import itertools
import os
import random
import subprocess
import sys

import numpy
import pytest
import torch
import torch.nn.functional as F
import transformers
from assertions import assert_mean, assert_same_bits
from test_backends import KERNELS
from torch import Tensor, nn

import thinnet
from thinnet.inference import sample
from thinnet.inference.copies import sharing_copy
from thinnet.inference.monte_carlo import drawing
from thinnet.models.edit.order import call_with
from thinnet.ops import NoiseKind, reference, schema
from thinnet.ops.arguments import options_of, unit_strides

IDS = torch.tensor([30, 10, 20, 5])


class Calls(nn.Module):
    """Dropout as a function, attention with its rate as an argument, and one module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.twice, self.last = nn.Linear(8, 24), nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.twice(x), 0.2, self.training)
        q, k, v = self.project(x).chunk(3, -1)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=0.4 if self.training else 0.0)
        return self.last(self.twice(F.dropout(y, 0.1, self.training))).mean(1)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.5, inplace=True), nn.Linear(16, 3))


def convolutions() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Dropout2d(0.4))
    return nn.Sequential(body, nn.Conv2d(6, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.AlphaDropout(0.2), nn.Linear(64, 3))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True)
    return nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(40, 3))


def bert() -> nn.Module:
    sizes = dict(vocab_size=50, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**sizes, attention_probs_dropout_prob=0.4, num_labels=3)
    )


WORDS = torch.randint(5, 50, (4, 6), generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    """Attention without dropout behind dropout, with masks of several shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last = nn.Dropout(0.4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.drop(x).unflatten(-1, (2, 4)).transpose(1, 2)
        each, one = torch.ones(len(x), 1, 1, 5, dtype=torch.bool), torch.ones(5, 5, dtype=torch.bool).tril()
        each[..., 4] = (x[:, 0, 0] > 0)[:, None, None]
        y = F.scaled_dot_product_attention(heads, heads, heads, each)
        y = F.scaled_dot_product_attention(x.unflatten(-1, (2, 4)).transpose(1, 2), y, heads, one)
        y = F.scaled_dot_product_attention(y, y, heads, is_causal=True, scale=0.3)
        return self.last(y.transpose(1, 2).flatten(2)).mean(1)


MODELS = {
    "plain attention": (Plain, torch.randn(4, 5, 8)),
    "mlp": (mlp, torch.randn(4, 8)),
    "convolutions": (convolutions, torch.randn(4, 2, 8, 8)),
    "encoder": (encoder, torch.randn(4, 5, 8)),
    "calls": (Calls, torch.randn(4, 5, 8)),
    "bert": (bert, dict(input_ids=WORDS, attention_mask=torch.ones_like(WORDS))),
}


def rows_of(x: object, rows: list[int]) -> object:
    return {name: value[rows] for name, value in x.items()} if isinstance(x, dict) else x[rows]  # type: ignore[index]


def by_hand(model: nn.Module, x: object, n: int, seed: int) -> Tensor:
    """The draws by hand: replace dropout, bind a `DropoutRNG`, set a step for each draw, train mode for the sites alone."""
    model = sharing_copy("test", model)
    thinnet.replace(model, functional=True, example=x)
    model.eval()
    for module in model.modules():
        module.training = isinstance(module, thinnet.rng.Site)
    rng, draws = thinnet.DropoutRNG(seed).bind(model), []
    with torch.no_grad():
        for step in range(n):
            rng.at(step, samples=IDS)
            out = call_with(model, x)
            draws.append(out if isinstance(out, Tensor) else out.logits)
    return torch.stack(draws)


def assert_close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_draw_has_the_masks_of_its_address(name: str) -> None:
    make, x = MODELS[name]
    model = make().eval()
    found = sample(model, x, n=5, seed=7, samples=IDS)
    assert found.addressed and not found.notes, str(found)
    assert found.draws.shape == (5, 4, 3) and found.kind == "logits"
    assert_close(found.draws, by_hand(model, x, 5, seed=7))


@pytest.mark.parametrize("name", MODELS)
def test_a_draw_is_the_same_in_any_batch_and_order_and_without_vmap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, x = MODELS[name]
    model = make().eval()
    whole = sample(model, x, n=5, seed=3, samples=IDS).draws
    assert not torch.equal(whole[0], whole[1])
    order = [2, 0, 3]
    assert_close(sample(model, rows_of(x, order), n=5, seed=3, samples=IDS[order]).draws, whole[:, order])
    assert_close(sample(model, x, n=2, seed=3, samples=IDS).draws, whole[:2])
    for batch_size in (1, 3, 7, 100):
        assert_close(sample(model, x, n=5, seed=3, samples=IDS, batch_size=batch_size).draws, whole)
    monkeypatch.setattr(torch.func, "vmap", None)
    looped = sample(model, x, n=5, seed=3, samples=IDS)
    assert_close(looped.draws, whole)
    assert looped.addressed and "one by one" in looped.notes[0]


def test_the_masks_are_those_of_dropout_rng() -> None:
    model = nn.Sequential(nn.Identity(), nn.Dropout(0.5))
    draws = sample(model, torch.ones(4, 40), n=6, seed=2**63 + 5, samples=IDS).draws
    twin = nn.Sequential(nn.Identity(), thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(2**63 + 5).bind(twin)
    for step in range(6):
        assert torch.equal(draws[step] != 0, rng.mask("1", step=step, samples=IDS, shape=(40,)))


def test_the_default_ids_are_the_row_numbers() -> None:
    model, x = mlp(), torch.randn(4, 8)
    assert torch.equal(sample(model, x, n=3).draws, sample(model, x, n=3, samples=range(4)).draws)
    assert torch.equal(sample(model, x, n=3, samples=7).draws, sample(model, x, n=3, samples=[7, 8, 9, 10]).draws)
    assert not torch.equal(sample(model, x, n=3).draws, sample(model, x, n=3, seed=1).draws)


def test_same_masks_give_all_samples_one_sub_network_per_draw() -> None:
    model, x = mlp(), torch.randn(1, 8).expand(4, 8).contiguous()
    draws = sample(model, x, n=6, same_masks=True).draws
    assert_close(draws, draws[:, :1].expand_as(draws))
    assert not torch.equal(sample(model, x, n=6).draws[:, 0], sample(model, x, n=6).draws[:, 1])
    assert len({tuple(draw.tolist()) for draw in draws[:, 0]}) > 1


class Counter(nn.Module):
    """Counts its passes in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return x


def test_the_model_and_the_generators_are_unchanged() -> None:
    layers = convolutions(), nn.Linear(3, 3), thinnet.nn.Dropout(0.5), Counter(), nn.LSTM(3, 3, 2, dropout=0.5)
    model = nn.Sequential(*layers).train()
    rng = thinnet.DropoutRNG(0).bind(model).at(3)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    held = [(module, type(module), dict(vars(module)), dict(module._modules)) for module in model.modules()]
    x = torch.randn(4, 2, 8, 8)
    generators = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].copy()
    sample(model, x, n=3, output=0)
    assert torch.equal(torch.get_rng_state(), generators[0]) and random.getstate() == generators[1]
    assert (numpy.random.get_state()[1] == generators[2]).all()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(
        type(module) is kind and dict(vars(module)) == attributes and dict(module._modules) == children
        for module, kind, attributes, children in held
    )
    assert rng.step == 3 and model[2].context is rng.context
    assert all(parameter.grad is None for parameter in model.parameters())


class Recurrent(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.drop, self.lstm = nn.Dropout(0.5), nn.LSTM(8, 8, 2, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(self.drop(x))[0][:, -1]


def test_draws_of_a_recurrent_layer_run_one_by_one() -> None:
    model, x = Recurrent(0.0), torch.randn(4, 5, 8)
    found = sample(model, x, n=4, seed=7, samples=IDS)
    assert found.addressed
    assert_close(found.draws, by_hand(model, x, 4, seed=7))


def test_masks_without_an_address_are_reported() -> None:
    model, x = Recurrent(0.5), torch.randn(4, 5, 8)
    found = sample(model, x, n=4)
    assert not found.addressed and "lstm" in found.notes[0]
    assert torch.equal(found.draws, sample(model, x, n=4).draws)
    assert torch.equal(found.draws[:2], sample(model, x, n=2).draws)
    alone = nn.Sequential(nn.LSTM(8, 8, 2, dropout=0.5, batch_first=True))
    draws = sample(alone, x, n=4, output=0).draws
    assert not torch.equal(draws[0], draws[1]) and not torch.equal(draws, sample(alone, x, n=4, output=0, seed=1).draws)


def test_draws_are_not_addressed_if_axis_0_does_not_count_the_samples() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.3)
    found = sample(nn.Sequential(layer, nn.Linear(8, 3)), torch.randn(6, 4, 8), n=3, batch_size=2)
    assert not found.addressed and any("depend on one another" in note for note in found.notes)


def test_the_prefix_runs_once_and_a_pass_keeps_to_the_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    model, x = mlp().eval(), torch.randn(10, 8)
    sample(model, x, n=2)  # the switches are known from now on
    sizes, run = [], drawing.Drawing._at_once

    def noted(self: drawing.Drawing, x: Tensor, steps: Tensor, ids: Tensor) -> object:
        sizes.append((len(steps), len(ids)))
        return run(self, x, steps, ids)

    monkeypatch.setattr(drawing.Drawing, "_at_once", noted)
    model[0].register_forward_hook(lambda module, args, out: seen.append(len(out)))
    whole = sample(model, x, n=6).draws
    seen, sizes[:] = seen[-1:], sizes[-1:]
    assert seen == [10] and sizes == [(6, 10)]
    for batch_size in (1, 4, 6, 13, 60):
        sizes.clear()
        assert_close(sample(model, x, n=6, batch_size=batch_size).draws, whole)
        assert max(steps * rows for steps, rows in sizes) <= batch_size
        assert sum(steps * rows for steps, rows in sizes) == 60


def test_a_changed_rate_changes_the_draws() -> None:
    model, x = Calls().eval(), torch.randn(4, 5, 8)
    before = sample(model, x, n=4).draws
    model.twice.p = 0.0
    after = sample(model, x, n=4).draws
    assert not torch.equal(before, after)
    assert_close(after, sample(model, x, n=4, samples=range(4)).draws)


def test_the_mean_of_draws_is_the_exact_average() -> None:
    """All 2^3 sub-networks; the false-alarm level is that of tests/assertions.py."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Dropout(0.25), nn.Linear(3, 4), nn.Tanh())
    x, n = torch.randn(2, 2), 20_000
    with torch.no_grad():
        hidden = model[:2](x)
        masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3)))
        chances = (0.75**masks * 0.25 ** (1 - masks)).prod(1)[:, None, None]
        outputs = torch.stack([model[3:](hidden * mask / 0.75) for mask in masks])
    mean = (chances * outputs).sum(0)
    variance = (chances * (outputs - mean) ** 2).sum(0)
    assert_mean(sample(model, x, n=n, kind="values").draws, mean, variance)


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.kind = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5)), "tuple"

    def forward(self, x: Tensor) -> object:
        mean, spread = self.body(x).chunk(2, -1)
        return {"tuple": (mean, spread), "dict": {"logits": mean, "other": spread}, "count": x.argmax(-1), "none": None}[
            self.kind
        ]


def test_outputs_of_several_tensors() -> None:
    model, x = Two(), torch.randn(5, 4)
    with pytest.raises(ValueError, match="output must select one of the tensors 0, 1; got None"):
        sample(model, x, n=2)
    one = sample(model, x, n=2, output=0)
    model.kind = "dict"
    assert torch.equal(sample(model, x, n=2).draws, one.draws)
    assert torch.equal(
        sample(model, x, n=2, output=lambda out: out["other"]).draws, sample(model, x, n=2, output="other").draws
    )
    with pytest.raises(ValueError, match="output must be a part of what the model returns: logits, other; got 'score'"):
        sample(model, x, n=2, output="score")
    model.kind = "tuple"
    both = sample(model, x, n=8, kind="mean_and_log_variance")
    assert both.kind == "values" and torch.equal(both.draws[:2], one.draws)
    assert both.aleatoric is not None
    assert_close(both.variance(), both.draws.var(0, correction=0) + both.aleatoric.mean(0))
    for kind, got in (("count", "torch.int64"), ("none", "None")):
        model.kind = kind
        with pytest.raises(TypeError, match=rf"logits or values; got {got}"):
            sample(model, x, n=2)


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x.where(x[:, :1] < 0, torch.nan))


def test_bad_input_is_refused() -> None:
    model, x = mlp(), torch.randn(4, 8)
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match=r"sample: n must be a positive integer; got .*\. Leave it out"):
            sample(model, x, n=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size must be a positive integer; got 0"):
        sample(model, x, batch_size=0)
    with pytest.raises(ValueError, match="samples must be one id for each of 4 rows; got 2"):
        sample(model, x, samples=[1, 2])
    with pytest.raises(ValueError, match="samples must be left out with same_masks=True"):
        sample(model, x, samples=[1, 2, 3, 4], same_masks=True)
    with pytest.raises(ValueError, match="kind must be one of logits, values, mean_and_log_variance; got 'classes'"):
        sample(model, x, kind="classes")
    with pytest.raises(ValueError, match="x must hold a tensor with a sample or more"):
        sample(model, x[:0])
    with pytest.raises(ValueError, match="NaN in 3 of 5 rows"):
        sample(Broken(), torch.tensor([[-1.0, 2], [1, 2], [1, 2], [-1, 2], [3, 4]]), n=2)
    for without in (nn.Sequential(nn.Linear(8, 3)), nn.Sequential(nn.Linear(8, 3), nn.Dropout(0.0))):
        with pytest.raises(ValueError, match="model must have dropout with a rate above 0"):
            sample(without, x)
    off = mlp()
    thinnet.freeze(off)
    with pytest.raises(ValueError, match="that is not frozen"):
        sample(off, x)


@pytest.mark.parametrize("kernel", KERNELS)
def test_noise_with_many_steps_equals_the_noise_of_each_step(kernel: str) -> None:
    steps, seed, site = torch.tensor([3, 9, 2**32 - 1, 0]), torch.tensor(-77), torch.tensor(2**32 - 5)
    rate = torch.tensor(19661, dtype=torch.int32)
    shapes = ((4,), (4, 300), (4, 3, 40), (4, 1, 300), (4, 3, 1), (4, 2, 70, 9, 3))
    for shape, rule in itertools.product(shapes, NoiseKind):
        for ids in (None, torch.tensor([5]), torch.arange(shape[1]) * 3) if len(shape) > 1 else (None,):
            turned = torch.randn((*shape[1:], 4)).movedim(-1, 0)
            for x in (torch.randn(shape), torch.randn((1, *shape[1:])).expand(shape), turned):
                inner = unit_strides(torch.Size(shape[1:]), (), ids is not None)
                where = seed, steps, site, ids
                y = schema.call(x, rate, *where, [], options_of(rule, backend=kernel))
                assert_same_bits(y, reference.apply_noise(x, rate, *where, [0, *inner], 0, rule, False))
                each = [reference.apply_noise(x[i], rate, seed, steps[i], site, ids, inner, 0, rule, False) for i in range(4)]
                assert torch.equal(y, torch.stack(each))


INTERPRETED = """
import torch
from thinnet.ops import reference, schema
x, rate, steps = torch.randn(3, 4, 20), torch.tensor(19661, dtype=torch.int32), torch.tensor([3, 9, 0])
for ids in (None, torch.tensor([5]), torch.tensor([7, 1, 9, 4])):
    where, units = (torch.tensor(-77), steps, torch.tensor(5), ids), [0, *([0, 1] if ids is not None else [20, 1])]
    y = schema.interpreted(x, rate, *where, [], 0)
    assert torch.equal(y, reference.apply_noise(x, rate, *where, units, 0, reference.NoiseKind.INVERTED, False)), ids
"""


def test_the_kernels_of_a_gpu_take_many_steps() -> None:
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    run = subprocess.run([sys.executable, "-c", INTERPRETED], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr


def test_a_mapped_step_has_its_derivatives() -> None:
    x, steps = torch.randn(3, 20, requires_grad=True), torch.arange(4)
    rate, rest = torch.tensor(32768, dtype=torch.int32), (torch.tensor(1), torch.tensor([0]), [0, 1, 0], 0)

    def run(step: Tensor, x: Tensor) -> Tensor:
        return schema.call(x, rate, torch.tensor(5), step, *rest)

    mapped = torch.func.vmap(run, in_dims=(0, None))(steps, x)
    each = torch.stack([run(step, x) for step in steps])
    assert_same_bits(mapped, each)
    weight = torch.randn_like(each)
    assert_close(torch.autograd.grad(mapped, x, weight)[0], torch.autograd.grad(each, x, weight)[0])
    per_draw = torch.func.vmap(torch.func.grad(lambda x, step: run(step, x).sum()), in_dims=(None, 0))(x, steps)
    assert_same_bits(per_draw, torch.stack([torch.autograd.grad(run(step, x).sum(), x)[0] for step in steps]))


def test_an_error_without_a_message_makes_the_draws_run_one_by_one() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop, self.head = nn.Dropout(0.5), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.drop(x)
            if "BatchedTensor" in repr(x):
                raise RuntimeError
            return self.head(x)

    found = thinnet.inference.sample(Careful().eval(), torch.randn(6, 8), n=4)
    assert "draws ran one by one: RuntimeError" in found.notes
