"""Thinned chains of units equal the masked network and skip the work of dropped units."""

import copy
import io
import re
from collections.abc import Callable
from unittest import mock

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet
from thinnet.models.thin import verification
from thinnet.models.thin.chain_run import Chain
from thinnet.nn import BatchwiseDropout


class Gated(nn.Module):
    """A gated feed-forward part as in Llama: two layers make the units."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(12), nn.Dropout(0.5)
        self.gate, self.up, self.down = nn.Linear(12, 37, bias=False), nn.Linear(12, 37), nn.Linear(37, 12)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.down(self.drop(F.silu(self.gate(h)) * self.up(h)))


class Residual(nn.Module):
    """A residual block that drops channels between its convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(2))
        self.norm, self.after, self.drop = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.after(self.second(self.drop(F.relu(self.norm(self.first(x)))))))


def perceptron(p: float = 0.5, inplace: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Linear(13, 40), nn.ReLU(inplace), nn.Dropout(p), nn.Linear(40, 33), nn.GELU(), nn.Dropout(p), nn.Linear(33, 5)
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 18, 3, padding=1, padding_mode="reflect"),
        nn.BatchNorm2d(18),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.5),
        nn.Conv2d(18, 24, 3, stride=2, dilation=2),
        nn.Dropout2d(0.25),
        nn.LeakyReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, 50),
        nn.Tanh(),
        nn.Dropout(0.4),
        nn.Linear(50, 4),
    )


def encoder() -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 40, dropout=0.4, batch_first=True), 2)


Case = tuple[Callable[[], nn.Module], tuple[int, ...], int]
CASES: dict[str, Case] = {
    "perceptron": (perceptron, (7, 13), 2),
    "in place": (lambda: perceptron(inplace=True), (7, 13), 2),
    "residual perceptron": (lambda: nn.Sequential(Gated(), Gated()), (3, 5, 12), 2),
    "convolutional": (convolutional, (5, 3, 14, 14), 3),
    "residual network": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), Residual(), Residual()), (5, 3, 9, 9), 2),
    "1d and 3d": (
        lambda: nn.Sequential(
            nn.Conv1d(3, 16, 3), nn.Dropout1d(0.5), nn.Conv1d(16, 4, 3), nn.Unflatten(1, (4, 1, 1)),
            nn.Conv3d(4, 16, 1), nn.ELU(), nn.Dropout3d(0.5), nn.Conv3d(16, 2, 1),
        ),
        (4, 3, 11),
        2,
    ),
    "transformer": (encoder, (3, 6, 16), 2),
}  # fmt: skip


def each() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def chains(model: nn.Module) -> list[Chain]:
    forwards = [vars(module).get("forward") for module in model.modules()]
    return [forward.chain for forward in forwards if type(forward).__name__ == "ThinnedSite"]


def stepped(model: nn.Module, x: Tensor, on: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Returns output and gradients of one pass, thinned or masked, with the same masks and seeds."""
    for chain in chains(model):
        chain.on = on
    state = copy.deepcopy(model.state_dict())
    model.zero_grad()
    torch.manual_seed(5)
    x = x.clone().requires_grad_()
    y = model(x)
    y.backward(torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape))
    assert x.grad is not None
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None} | {"x": x.grad}
    model.load_state_dict(state)
    return y.detach(), gradients


def assert_thinned(model: nn.Module, x: Tensor, **tolerance: float) -> None:
    """Checks that the thinned step equals the masked one: output, gradients, and which gradients are zero."""
    thinned, masked = stepped(model, x, on=True), stepped(model, x, on=False)
    torch.testing.assert_close(thinned, masked, **tolerance)
    for name, gradient in masked[1].items():
        if "forward" in vars(model.get_submodule(name.rpartition(".")[0])) and name.endswith("weight"):
            assert bool((thinned[1][name][gradient == 0] == 0).all()), name


@each()
@pytest.mark.parametrize("count", ["fixed", "bernoulli"])
def test_the_thinned_network_equals_the_masked_one(case: Case, count: str) -> None:
    make, shape, number = case
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    model = make().double()
    thinning = thinnet.thin(model, x, count=count, always=True)
    assert len(thinning.thinned) == len(chains(model)) == number
    rng = thinnet.DropoutRNG(3).bind(model.train())
    for step in range(4):
        rng.at(step)
        assert_thinned(model, x, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("groups", [2, 3, 16])
@pytest.mark.parametrize("name", ["perceptron", "residual perceptron", "1d and 3d", "transformer"])
def test_each_group_has_its_own_mask(name: str, groups: int) -> None:
    make, shape, number = CASES[name]
    x = torch.randn((7, *shape[1:]), dtype=torch.float64)
    model = make().double()
    thinnet.thin(model, x, groups=groups, always=True)
    rng = thinnet.DropoutRNG(3).bind(model.train()).at(0)
    assert len(chains(model)) == number
    assert_thinned(model, x, rtol=1e-9, atol=1e-10)
    sites = [chain.site for chain in chains(model)]
    kept = [site(torch.ones(7, chain.units)) != 0 for site, chain in zip(sites, chains(model), strict=True)]
    assert all(len(set(map(tuple, mask.tolist()))) > 1 for mask in kept)
    rng.unbind()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_other_dtypes_agree_up_to_rounding(dtype: torch.dtype) -> None:
    model, x = perceptron().to(dtype), torch.randn(7, 13, dtype=dtype)
    thinnet.thin(model, x, groups=2, always=True)
    thinnet.DropoutRNG(3).bind(model.train()).at(0)
    rounding = torch.finfo(dtype).eps
    assert_thinned(model, x, rtol=8 * rounding, atol=8 * rounding)


def test_autocast_runs_thinned_in_bfloat16() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    thinnet.thin(model, x, always=True)
    thinnet.DropoutRNG(3).bind(model.train()).at(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(x).dtype == torch.bfloat16
        assert_thinned(model, x, rtol=0.05, atol=0.05)


def test_dropped_units_are_not_computed() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    seen = []
    model[1].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    model[4].register_forward_hook(lambda module, args, out: seen.append(out.shape))
    thinnet.thin(model, x, always=True)
    seen.clear()
    model.train()(x)
    assert seen[0] == (7, 20) and seen[1] in ((7, 16), (7, 17))  # 33 / 2 units, rounded up or down at random
    model.eval()(x)
    assert seen[2:] == [(7, 40), (7, 33)]


def test_activations_of_dropped_units_are_never_allocated() -> None:
    model, x = nn.Sequential(nn.Linear(4, 512), nn.Tanh(), nn.Dropout(0.75), nn.Linear(512, 2)), torch.randn(1000, 4)
    thinnet.thin(model, x, always=True)

    def kept() -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            if tensor.shape[:1] == (1000,):
                sizes[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            model.train()(x)
        return sum(sizes.values())

    thinned = kept()
    chains(model)[0].on = False
    assert thinned < 0.2 * kept()  # a quarter of the units, once; masked they are kept twice


def test_weights_of_dropped_units_only_move_by_momentum_and_decay() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    thinnet.thin(model, x, always=True)
    rng = thinnet.DropoutRNG(1).bind(model.train())
    rng.at(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = model[0].weight.detach().clone()
    model(x).square().sum().backward()
    optimizer.step()
    moved = (model[0].weight != before).any(1)
    chain = chains(model)[0]
    assert chain.kept is not None and chain.kept.live is None
    assert set(moved.nonzero().flatten().tolist()) <= set(chain.kept.units[0].tolist()) and int(moved.sum()) > 10


@each()
def test_state_eval_and_undo_are_unchanged(case: Case) -> None:
    make, shape, _ = case
    model, x = make(), torch.randn(shape)
    modules, keys = dict(model.named_modules()), list(model.state_dict())
    parameters = [id(parameter) for parameter in model.parameters()]
    expected = model.eval()(x)
    model.train()
    thinning = thinnet.thin(model, x, always=True)
    assert list(model.state_dict()) == keys and [id(parameter) for parameter in model.parameters()] == parameters
    assert torch.equal(model.eval()(x), expected)
    thinnet.thin(model, undo=True)
    assert dict(model.named_modules()) == modules
    assert not any("forward" in vars(module) for module in model.modules())
    assert torch.equal(model.eval()(x), expected)
    with pytest.raises(ValueError, match="it is not"):
        thinnet.thin(model, undo=True)
    assert thinning.edit is not None and thinning.edit.undone


def test_running_statistics_of_dropped_channels_do_not_move() -> None:
    model, x = nn.Sequential(Residual()), torch.randn(6, 8, 7, 7)
    thinnet.thin(model, x, always=True)
    rng = thinnet.DropoutRNG(0).bind(model.train()).at(0)
    before = model[0].norm.running_mean.clone()
    assert model[0].norm.num_batches_tracked == 0
    model(x)
    chain = chains(model)[0]
    assert chain.kept is not None
    moved = (model[0].norm.running_mean != before).nonzero().flatten().tolist()
    assert moved == chain.kept.units[0].tolist() and model[0].norm.num_batches_tracked == 1
    rng.unbind()


def test_a_group_has_the_address_of_its_first_sample() -> None:
    whole, part = perceptron(), perceptron()
    x, ids = torch.randn(8, 13), torch.arange(8) * 5 + 2
    part.load_state_dict(whole.state_dict())
    thinnet.thin(whole, x, groups=2, always=True)
    thinnet.thin(part, x, always=True)
    one, other = thinnet.DropoutRNG(9).bind(whole.train()), thinnet.DropoutRNG(9).bind(part.train())
    y = one.at(3, ids) and whole(x)
    parts = [other.at(3, ids[i : i + 4]) and part(x[i : i + 4]) for i in (0, 4)]
    torch.testing.assert_close(torch.cat(parts), y)


def test_steps_do_not_recompile() -> None:
    model, x = perceptron(), torch.randn(8, 13)
    thinnet.thin(model, x, groups=2, always=True)
    rng = thinnet.DropoutRNG(0).bind(model.train())
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(5):
        rng.at(step)
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count == 1


def test_the_first_training_batch_is_the_default_example() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    thinning = thinnet.thin(model, always=True)
    assert str(thinning) == "# waits for the first batch in training mode" and thinning.thinned == ()
    model.eval()(x)
    assert thinning.thinned == ()
    state = copy.deepcopy(model.state_dict())
    torch.manual_seed(0)
    model.train()(x)
    assert thinning.thinned == ("2", "5") and len(chains(model)) == 2
    torch.testing.assert_close(dict(model.state_dict()), dict(state))
    thinnet.thin(model, undo=True)
    waiting = thinnet.thin(model, always=True)
    waiting.undo()
    model(x)
    assert not chains(model)


def test_copies_and_pickles_stay_thinned() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    thinnet.thin(model, x, always=True)
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    for other in (copy.deepcopy(model), torch.load(stored, weights_only=False)):
        assert len(chains(other)) == 2 and chains(other)[0] is not chains(model)[0]
        torch.manual_seed(1)
        expected = model.train()(x)
        torch.manual_seed(1)
        assert torch.equal(other.train()(x), expected)
        thinnet.thin(other, undo=True)
        assert not chains(other) and len(chains(model)) == 2


NOT: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "input": (lambda: nn.Sequential(nn.Dropout(0.2), nn.Linear(13, 4)), (7, 13), "no layer computes its input"),
    "output": (lambda: nn.Sequential(nn.Linear(13, 40), nn.Dropout(0.2)), (7, 13), "the model returns its output"),
    "layer norm": (
        lambda: nn.Sequential(nn.Linear(13, 40), nn.LayerNorm(40), nn.Dropout(0.5), nn.Linear(40, 4)),
        (7, 13),
        "layer_norm in 1 mixes units",
    ),
    "sigmoid": (
        lambda: nn.Sequential(nn.Linear(13, 40), nn.Dropout(0.5), nn.Sigmoid(), nn.Linear(40, 4)),
        (7, 13),
        "sigmoid in 2 does not map zero to zero",
    ),
    "elements of a map": (
        lambda: nn.Sequential(nn.Conv2d(3, 40, 3), nn.Dropout(0.5), nn.Conv2d(40, 4, 3)),
        (7, 3, 8, 8),
        "it drops elements of a feature map",
    ),
    "groups of channels": (
        lambda: nn.Sequential(nn.Conv2d(3, 40, 3), nn.Dropout2d(0.5), nn.Conv2d(40, 40, 3, groups=40)),
        (7, 3, 8, 8),
        "2 has 40 groups of channels",
    ),
    "too few": (
        lambda: nn.Sequential(nn.Linear(13, 4), nn.Dropout(0.1), nn.Linear(4, 2)),
        (7, 13),
        "none of its 4 units can be skipped",
    ),
    "all steps": (
        lambda: nn.Sequential(nn.Linear(13, 40), nn.BatchNorm1d(40, momentum=None), nn.Dropout(0.5), nn.Linear(40, 2)),
        (7, 13),
        "momentum=None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NOT.values(), ids=NOT.keys())
def test_other_sites_stay_unchanged_and_give_a_reason(case: tuple[Callable[[], nn.Module], tuple[int, ...], str]) -> None:
    make, shape, why = case
    model = make()
    site = next(module for module in model.modules() if type(module).__name__.startswith("Dropout"))
    thinning = thinnet.thin(model, torch.randn(shape), always=True)
    assert thinning.thinned == () and any(why in note for note in thinning.notes), thinning
    assert site in model.modules() and not chains(model)


class Written(nn.Module):
    """Literal sizes behind the convolutions, as in many tutorials."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.drop, self.head = nn.Conv2d(1, 20, 5), nn.Dropout2d(0.5), nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.drop(self.conv(x))).view(-1, 320))


class Shared(nn.Module):
    """A layer whose output is read by a dropout and by a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(13, 40), nn.Dropout(0.5), nn.Linear(40, 40)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(self.drop(h)) + h


class Twice(nn.Module):
    """A layer that runs inside and outside a chain."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(13, 13), nn.Dropout(0.5), nn.Linear(13, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.drop(self.first(self.first(x).tanh()).relu()))


class Mean(nn.Module):
    """Divides by the number of units."""

    def forward(self, h: Tensor) -> Tensor:
        return h / h.shape[-1]


def counted() -> nn.Module:
    return nn.Sequential(nn.Linear(13, 40), nn.ReLU(), nn.Dropout(0.5), Mean(), nn.Linear(40, 2))


@pytest.mark.parametrize(
    ("make", "shape", "why"),
    [
        (counted, (7, 13), "it differs from the masked network by"),
        (Written, (4, 1, 8, 8), "have other shapes than"),
        (Shared, (7, 13), "add in the model also reads the output of first"),
        (Twice, (7, 13), "first also runs elsewhere"),
    ],
)
def test_chains_that_are_not_separable_are_not_thinned(make: Callable[[], nn.Module], shape: tuple[int, ...], why: str) -> None:
    model, x = make(), torch.randn(shape)
    thinning = thinnet.thin(model, x, always=True)
    assert thinning.thinned == () and any(why in note for note in thinning.notes), thinning
    assert model.train()(x).shape == model.eval()(x).shape


@pytest.mark.parametrize(("last", "right"), [(nn.Identity(), True), (Mean(), False)])
def test_inputs_of_relu_that_are_rounding_alone_refuse_no_chain_and_hide_no_wrong_one(last: nn.Module, right: bool) -> None:
    first = nn.Sequential(nn.Linear(13, 256), nn.ReLU(), BatchwiseDropout(0.5))
    model = nn.Sequential(*first, nn.Linear(256, 256), nn.ReLU(), BatchwiseDropout(0.5), last, nn.Linear(256, 10))
    x, rng = torch.randn(1, 13), thinnet.DropoutRNG(0).bind(model).at(0)
    with torch.no_grad():  # the second layer adds up to zero, and its ReLUs have the sign of the rounding
        model[3].bias.copy_(-(model[3].weight.double() @ first(x)[0].double()))
    rng.unbind()
    with mock.patch.object(verification, "MOVES", (0.0,)):
        assert len(thinnet.thin(model, x, always=True).thinned) < 2
        thinnet.thin(model, undo=True)
    assert thinnet.thin(model, x, always=True).thinned == (("2", "5") if right else ("2",))


def test_a_chain_that_runs_twice_is_thinned() -> None:
    block = nn.Sequential(nn.Linear(12, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 12))
    model, x = nn.Sequential(block, block).double(), torch.randn(5, 12, dtype=torch.float64)
    assert thinnet.thin(model, x, always=True).thinned == ("0.2",)
    thinnet.DropoutRNG(3).bind(model.train()).at(0)
    assert_thinned(model, x, rtol=1e-9, atol=1e-10)


def test_functional_dropout_is_thinned_after_replace() -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(13, 40), nn.Linear(40, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(F.dropout(F.relu(self.first(x)), 0.5, training=self.training))

    model, x = Functional(), torch.randn(7, 13)
    with pytest.raises(ValueError, match=r"replace\(model, functional=True"):
        thinnet.thin(model, x, always=True)
    thinnet.replace(model, functional=True, example=x)
    assert thinnet.thin(model, x, always=True).thinned == ("dropout_calls.0",)
    thinnet.DropoutRNG(0).bind(model.train()).at(0)
    assert_thinned(model, x)


def test_a_checkpoint_around_a_chain_works_and_one_inside_is_refused() -> None:
    from torch.utils.checkpoint import checkpoint

    model, x = perceptron(), torch.randn(7, 13, requires_grad=True)
    thinnet.thin(model, x, always=True)
    thinnet.DropoutRNG(3).bind(model.train()).at(0)
    model(x).sum().backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    checkpoint(model, x, use_reentrant=False).sum().backward()
    torch.testing.assert_close([parameter.grad for parameter in model.parameters()], expected)
    h = model[0](x)
    with pytest.raises(RuntimeError, match="a checkpoint begins inside it"):
        checkpoint(model[1:], h, use_reentrant=False).sum().backward()


def test_the_check_fires_no_gradient_hooks() -> None:
    model, x, fired = perceptron(), torch.randn(7, 13), []
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter: fired.append(parameter))
    thinnet.thin(model, always=True)
    model.train()(x).sum().backward()
    assert len(chains(model)) == 2 and len(fired) == len(list(model.parameters()))


def test_a_reentrant_checkpoint_around_a_chain_works() -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.chain = nn.Linear(13, 13), perceptron()

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.chain, self.first(x), use_reentrant=True)

    model, x = Checkpointed(), torch.randn(7, 13)
    assert thinnet.thin(model, x, always=True).thinned == ("chain.2", "chain.5")
    model.train()(x).sum().backward()
    assert bool((model.chain[0].weight.grad == 0).all(1).any())


def test_scheduled_rates_may_be_zero_and_one() -> None:
    model, x = perceptron(0.0).double(), torch.randn(7, 13, dtype=torch.float64)
    thinnet.thin(model, x, always=True)
    thinnet.DropoutRNG(3).bind(model.train()).at(0)
    for p in (0.0, 0.3, 0.999, 1.0, 0.5):
        for chain in chains(model):
            chain.site.p = p
        assert_thinned(model, x, rtol=1e-9, atol=1e-10)


def test_bad_input_is_refused_without_changes() -> None:
    model, x = perceptron(), torch.randn(7, 13)
    for options, why in (
        ({"groups": 0}, "groups must be a positive integer; got 0"),
        ({"count": "some"}, 'count must be "fixed" or "bernoulli"'),
        ({"leave": ["9"]}, "pattern '9' must match a site; there are: 2, 5"),
    ):
        with pytest.raises(ValueError, match=re.escape(why)):
            thinnet.thin(model, x, always=True, **options)
    with pytest.raises(ValueError, match="it has none"):
        thinnet.thin(nn.Linear(3, 3), x, always=True)
    with pytest.raises(TypeError, match=r"must be a torch\.nn\.Module"):
        thinnet.thin("model", x, always=True)
    with pytest.raises(RuntimeError):
        thinnet.thin(model, torch.randn(7, 12), always=True)
    assert not chains(model) and not any("forward" in vars(module) for module in model.modules())
    thinning = thinnet.thin(model, x, leave=["2"], always=True)
    assert thinning.thinned == ("5",) and thinning.notes == ("2 is not thinned: excluded by leave=",)
    with pytest.raises(ValueError, match=r"it is\. Call"):
        thinnet.thin(model, x, always=True)
    thinning.undo()
    named = nn.Sequential(nn.Linear(3, 8), thinnet.nn.Dropout(0.5), nn.Linear(8, 2))
    thinnet.DropoutRNG(0).bind(named)
    with pytest.raises(ValueError, match="sites must not be bound yet"):
        thinnet.thin(named, torch.randn(2, 3), always=True)


def test_an_existing_batchwise_site_keeps_its_settings() -> None:
    site = BatchwiseDropout(0.5, groups=3, count="bernoulli")
    model = nn.Sequential(nn.Linear(13, 40), site, nn.Linear(40, 2))
    assert thinnet.thin(model, torch.randn(7, 13), always=True).thinned == ("1",) and model[1] is site and site.groups == 3


def test_a_thinned_layer_keeps_no_weights_for_backward() -> None:
    """At a small batch, parts of the weights would be most of what the forward pass keeps."""
    x = torch.randn(16, 64)

    def kept(thinned: bool) -> int:
        model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 8))
        if thinned:
            thinnet.thin(model, x, always=True)
        seen: dict[int, int] = {}
        own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.untyped_storage().data_ptr() not in own:
                seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            y = model(x)
        del y
        return sum(seen.values())

    assert kept(thinned=True) < kept(thinned=False)


def test_a_thinned_layer_has_second_derivatives() -> None:
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 3)).double(),
        torch.randn(4, 5).double(),
    )
    chain = thinnet.thin(model, x, always=True)
    rng = thinnet.DropoutRNG(3).bind(model)
    found = []
    for on in (True, False):
        chains(model)[0].on = on
        rng.at(0)
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(model(leaf).square().sum(), leaf, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), [leaf, *model.parameters()]))
    assert chain.thinned
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
