"""`optimize`: the same masks, numbers and gradients in fewer passes; another way through the model stays right."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
import transformers
from edited import GPT2, IDS, SMALL, TEXT
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.models.optimize.pending import Pending
from thinnet.ops import fused, schema

pytestmark = pytest.mark.skipif(schema.missing is not None, reason="the C++ kernels are not built")
X = torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def small_tensors_are_fused_too() -> Iterator[None]:
    with mock.patch("thinnet.models.optimize.run.LEAST", 1):
        yield


class Block(nn.Module):
    """A block as users write it; `way` changes what it does with its dropout."""

    def __init__(self, gated: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.mix = nn.LayerNorm(16), nn.RMSNorm(16), nn.Linear(16, 16)
        self.wide, self.gate, self.narrow = nn.Linear(16, 32), nn.Linear(16, 32), nn.Linear(32, 16)
        self.drop1, self.drop2, self.drop3, self.gated, self.way = *(nn.Dropout(0.3) for _ in range(3)), gated, ""

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop1(self.mix(self.first(x)))
        if self.way == "reads the sum":
            with torch.no_grad():
                self.seen = x.mean()
        h = self.second(x)
        if self.way == "another activation":
            h = torch.tanh(self.wide(h))
        else:
            h = F.silu(self.wide(h)) * self.gate(h) if self.gated else F.gelu(self.wide(h))
        h = self.drop2(h)
        if self.way == "no residual":
            return self.drop3(self.narrow(h)).sin()
        return self.drop3(self.narrow(h)) + x


class GPT(nn.Module):
    """Embeddings of tokens and positions, and two blocks."""

    def __init__(self, reentrant: bool | None = None, gated: bool = False) -> None:
        super().__init__()
        self.tokens, self.positions, self.drop = nn.Embedding(100, 16), nn.Embedding(12, 16), nn.Dropout(0.2)
        self.blocks, self.norm, self.reentrant = nn.ModuleList(Block(gated) for _ in range(2)), nn.LayerNorm(16), reentrant

    def forward(self, ids: Tensor) -> Tensor:
        x = self.drop(self.tokens(ids) + self.positions(torch.arange(ids.shape[1])))
        for block in self.blocks:
            x = block(x) if self.reentrant is None else checkpoint(block, x, use_reentrant=self.reentrant)
        return self.norm(x)


def encoder(**settings: Any) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.2, batch_first=True, **settings)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def mlp(inplace: bool = False) -> nn.Module:
    first, second = (nn.Linear(16, 32), nn.ReLU(inplace), nn.Dropout(0.5)), (nn.Linear(32, 32), nn.GELU())
    return nn.Sequential(*first, *second, nn.Dropout(0.5, inplace), nn.Linear(32, 4))


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**SMALL))


def gpt2() -> nn.Module:
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2, n_positions=64))


NORMED = "dropout + add + layer_norm"
MODELS: dict[str, tuple[Callable[[], nn.Module], Any, dict[str, str]]] = {
    "user's GPT": (
        GPT,
        dict(ids=IDS),
        {
            **{"drop": "embedding + add + dropout"},
            **{f"blocks.{i}.drop1": "dropout + add + rms_norm" for i in range(2)},
            **{f"blocks.{i}.drop2": "gelu + dropout" for i in range(2)},
            **{f"blocks.{i}.drop3": NORMED for i in range(2)},
        },
    ),
    "gated": (
        lambda: Block(gated=True),
        dict(x=X),
        {"drop1": "dropout + add + rms_norm", "drop2": "silu + mul + dropout", "drop3": "dropout + add"},
    ),
    "encoder": (
        encoder,
        dict(src=X),
        {f"layers.{i}.{drop}": NORMED for i in range(2) for drop in ("dropout1", "dropout2")}
        | {f"layers.{i}.dropout": "relu + dropout" for i in range(2)},
    ),
    "encoder, norm first": (
        lambda: encoder(norm_first=True, activation="gelu"),
        dict(src=X),
        {f"layers.{i}.dropout1": NORMED for i in range(2)}
        | {f"layers.{i}.dropout": "gelu + dropout" for i in range(2)}
        | {"layers.0.dropout2": NORMED, "layers.1.dropout2": "dropout + add"},
    ),
    "MLP": (mlp, dict(input=X), {"2": "relu + dropout", "5": "gelu + dropout"}),
    "MLP, in place": (lambda: mlp(True), dict(input=X), {"2": "relu + dropout", "5": "gelu + dropout"}),
    "BERT": (
        bert,
        TEXT,
        {f"encoder.layer.{i}.{part}.dropout": NORMED for i in range(2) for part in ("attention.output", "output")},
    ),
    "GPT-2": (
        gpt2,
        TEXT,
        {"transformer.drop": "embedding + add + dropout"}
        | {f"transformer.h.{i}.{drop}": NORMED for i in range(2) for drop in ("attn.resid_dropout", "mlp.dropout")},
    ),
}


def pair(make: Callable[[], nn.Module], example: Any) -> tuple[nn.Module, nn.Module, Any]:
    """An optimised model, the same one with separate operations, and the edit."""
    torch.manual_seed(0)
    separate = make()
    model = copy.deepcopy(separate)
    edit = thinnet.optimize(model, **example)
    thinnet.replace(separate, {change.place: thinnet.nn.Dropout for change in edit})
    return model.train(), separate.train(), edit


def run(model: nn.Module, example: Any) -> list[Tensor]:
    """The output of one step, and the gradients."""
    torch.manual_seed(7)
    out = model(**example)
    out = out if isinstance(out, Tensor) else out[0]
    model.zero_grad()
    (out * torch.linspace(-1, 1, out.numel()).reshape(out.shape)).sum().backward()
    return [out.detach(), *(p.grad if p.grad is not None else torch.zeros(()) for p in model.parameters())]


def assert_alike(one: list[Tensor], other: list[Tensor]) -> None:
    size = max(float(each.abs().max()) for each in other)
    assert type(one[0]) is Tensor
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * size)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_has_the_masks_numbers_and_gradients_of_separate_operations(name: str) -> None:
    make, example, chains = MODELS[name]
    model, separate, edit = pair(make, example)
    assert {change.place: change.text.partition(" in one pass")[0] for change in edit if change.place in chains} == chains
    assert model.state_dict().keys() == separate.state_dict().keys()
    assert_alike(run(model, example), run(separate, example))
    for each in (model, separate):
        each.eval()
    ours, theirs = model(**example), separate(**example)
    assert torch.equal(*(out if isinstance(out, Tensor) else out[0] for out in (ours, theirs)))


@contextmanager
def counted() -> Iterator[list[str]]:
    """The calls of fused operations."""
    calls: list[str] = []
    with (
        mock.patch.object(schema_of("Fused"), "forward", counting("Fused", calls)),
        mock.patch.object(schema_of("FusedNorm"), "forward", counting("FusedNorm", calls)),
    ):
        yield calls


def schema_of(name: str) -> Any:
    from thinnet.ops.fused import schema as operations

    return getattr(operations, name)


def counting(name: str, calls: list[str]) -> Any:
    forward = schema_of(name).forward

    def call(*arguments: Any) -> Any:
        calls.append(name)
        return forward(*arguments)

    return staticmethod(call)


def test_each_chain_is_one_operation() -> None:
    model, _, _ = pair(GPT, dict(ids=IDS))
    with counted() as calls:
        model(IDS)
    assert calls == ["Fused", *["FusedNorm", "Fused", "FusedNorm"] * 2]


def test_small_tensors_run_the_separate_operations() -> None:
    model, separate, _ = pair(GPT, dict(ids=IDS))
    with counted() as calls, mock.patch("thinnet.models.optimize.run.LEAST", IDS.numel() * 16 + 1):
        assert_alike(run(model, dict(ids=IDS)), run(separate, dict(ids=IDS)))
    assert calls == ["Fused", "Fused"]  # the wide activations of the two blocks


def test_undo_restores_modules_and_modes() -> None:
    model = mlp()
    before = list(model)
    edit = thinnet.optimize(model, X)
    model.eval()
    edit.undo()
    assert list(model) == before and not any(module.training or "forward" in vars(module) for module in model)


def test_addressed_masks_are_those_of_the_sites() -> None:
    model, separate, _ = pair(GPT, dict(ids=IDS))
    for each in (model, separate):
        thinnet.DropoutRNG(3).bind(each).at(5, samples=torch.tensor([8, 2]))
    assert_alike(run(model, dict(ids=IDS)), run(separate, dict(ids=IDS)))


@pytest.mark.parametrize("way", ["reads the sum", "another activation", "no residual"])
def test_a_way_that_the_example_did_not_take_stays_right(way: str) -> None:
    model, separate, _ = pair(Block, dict(x=X))
    model.way = separate.way = way
    assert_alike(run(model, dict(x=X)), run(separate, dict(x=X)))


def test_a_rate_can_change_and_a_site_can_be_off() -> None:
    model, separate, _ = pair(Block, dict(x=X))
    for each in (model, separate):
        each.drop1.p, each.drop3.p = 0.6, 0.0
        each.drop2.eval()
    assert_alike(run(model, dict(x=X)), run(separate, dict(x=X)))


def test_copies_stay_optimised() -> None:
    model, separate, _ = pair(Block, dict(x=X))
    copied = copy.deepcopy(model)
    with counted() as calls:
        assert_alike(run(copied, dict(x=X)), run(separate, dict(x=X)))
    assert calls == ["FusedNorm", "Fused", "Fused"]
    assert copied.drop1.forward.module is copied.drop1


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints_find_the_same_operations(reentrant: bool) -> None:
    model, separate, _ = pair(lambda: GPT(reentrant), dict(ids=IDS))
    assert_alike(run(model, dict(ids=IDS)), run(separate, dict(ids=IDS)))


def test_a_checkpoint_that_comes_later_finds_the_same_operations() -> None:
    model, separate, _ = pair(GPT, dict(ids=IDS))
    model.reentrant = False
    assert_alike(run(model, dict(ids=IDS)), run(separate, dict(ids=IDS)))


def test_compiled_code_runs_the_separate_operations() -> None:
    model, separate, _ = pair(Block, dict(x=X))
    torch.manual_seed(1)
    expected = separate(X)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(1)
    torch.testing.assert_close(compiled(X), expected)


def test_transforms_run_the_separate_operations() -> None:
    model, separate, _ = pair(Block, dict(x=X))

    def loss(each: nn.Module) -> Any:
        torch.manual_seed(2)
        values = dict(each.named_parameters())
        return torch.func.grad(lambda p: torch.func.functional_call(each, p, X).square().sum())(values)

    ours, theirs = loss(model), loss(separate)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_symbolic_trace_records_the_modules() -> None:
    model, separate, _ = pair(mlp, dict(input=X))
    graph = torch.fx.symbolic_trace(model)
    assert [node.target for node in graph.graph.nodes if node.op == "call_module"] == ["0", "1", "2", "3", "4", "5", "6"]
    assert_alike(run(graph, dict(input=X)), run(separate, dict(input=X)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_and_half_precision_agree_to_their_rounding(dtype: torch.dtype) -> None:
    model, separate, _ = pair(Block, dict(x=X))
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(run(model, dict(x=X))[0], run(separate, dict(x=X))[0], rtol=0.05, atol=0.05)
    model, separate = model.to(dtype), separate.to(dtype)
    torch.testing.assert_close(run(model, dict(x=X.to(dtype)))[0], run(separate, dict(x=X.to(dtype)))[0], rtol=0.05, atol=0.05)


def test_other_layouts_run_the_separate_operations() -> None:
    model, separate, _ = pair(mlp, dict(input=X))
    nested = torch.nested.nested_tensor([X[0], X[1, :3]])
    found = []
    for each in (model, separate):
        torch.manual_seed(1)
        found.append(each(nested).to_padded_tensor(0.0))
    assert torch.equal(*found)


class Squared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def test_a_gradient_is_never_lost_without_a_word() -> None:
    """A torch.autograd.Function hides what it does from chains, so its backward pass must refuse."""
    layer = thinnet.nn.Dropout(0.5)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), layer)
    thinnet.optimize(model, X)
    waits = model[0](X)
    assert type(waits) is Pending
    with pytest.raises(RuntimeError, match="optimize: what is inside a fused chain must go to functions of PyTorch alone"):
        Squared.apply(waits).sum().backward()


def test_what_differs_on_the_example_is_left_alone_and_named() -> None:
    real = fused.fused

    def wrong(*arguments: Any, **named: Any) -> Tensor:
        return real(*arguments, **named) * 1.5

    with mock.patch("thinnet.models.optimize.pending.fused.fused", wrong):
        edit = thinnet.optimize(mlp(), X)
    assert not edit and all("it differs from the masked network" in note for note in edit.notes) and len(edit.notes) == 2


class Read(nn.Module):
    """A chain with a value inside that something else reads too, or that the model returns."""

    def __init__(self, value: str) -> None:
        super().__init__()
        self.tokens, self.wide, self.gate = nn.Embedding(100, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.drop, self.value = nn.Dropout(0.5), value

    def forward(self, ids: Tensor, returned: bool = False) -> Any:
        values = {"embedding": self.tokens(ids)}
        values["sum"] = x = values["embedding"] + torch.ones(ids.shape[1], 16)
        if self.value in ("linear", "silu", "product"):
            values["linear"] = self.wide(x)
            values["silu"] = F.silu(values["linear"])
            values["product"] = x = values["silu"] * self.gate(x)
        if self.value in ("input", "relu"):
            values["input"] = self.wide(x)
            values["relu"] = x = values["input"].relu()
        y = self.drop(x).sin()
        return (y, values[self.value]) if returned else y + values[self.value].cos()


@pytest.mark.parametrize("returned", [False, True])
@pytest.mark.parametrize("value", ["embedding", "sum", "linear", "silu", "product", "input", "relu"])
def test_a_value_that_is_read_elsewhere_ends_its_chain(value: str, returned: bool) -> None:
    model, example = Read(value), dict(ids=IDS, returned=returned)
    assert not thinnet.optimize(model, **example)


def test_notes_say_why_a_site_has_no_chain() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.Tanh(), nn.ReLU(), nn.Dropout(0.5))
    edit = thinnet.optimize(model, X, leave=["4"])
    assert edit.notes == (
        "1 is not fused: 0 makes its input, and tanh in 2 reads its output",
        "4 is not fused: excluded by leave=",
    )
    assert type(model[1]) is nn.Dropout


def test_a_shared_layer_starts_one_chain() -> None:
    shared = nn.Linear(16, 16)
    model = nn.Sequential(shared, nn.ReLU(), nn.Dropout(0.5), shared, nn.GELU(), nn.Dropout(0.5))
    edit = thinnet.optimize(model, X)
    assert [change.place for change in edit] == ["2"]
    assert edit.notes == ("5 is not fused: 0 starts another chain",)
    edit.undo()
    assert "forward" not in vars(shared)


@pytest.mark.parametrize(
    ("call", "kind", "rule"),
    [
        (lambda: thinnet.optimize(3, X), TypeError, "optimize: model must be a torch.nn.Module"),
        (lambda: thinnet.optimize(mlp()), ValueError, "optimize: example must be"),
        (lambda: thinnet.optimize(nn.Linear(16, 2), X), ValueError, "optimize: model must contain dropout"),
        (lambda: thinnet.optimize(mlp(), X, leave=["7"]), ValueError, "pattern '7' must match a site"),
        (lambda: thinnet.optimize(mlp(), X[..., :3]), RuntimeError, "mat1 and mat2"),
    ],
)
def test_bad_input_is_refused(call: Any, kind: type[Exception], rule: str) -> None:
    with pytest.raises(kind, match=rule):
        call()
