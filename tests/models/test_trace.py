"""`trace` records modules, functions, draws and values, keeps no activations, and leaves no hook behind."""

import gc
import threading
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from networks import Checkpointed
from torch import Tensor, nn
from torch.nn.modules import module as everywhere

from thinnet.models.trace import trace
from thinnet.models.trace.functions import Functions, pointwise
from thinnet.models.trace.modules import Values
from thinnet.models.trace.reads import follow

X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


class Branch(nn.Module):
    """A residual branch with functional dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.drop = nn.Linear(8, 16), nn.Linear(16, 8), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.dropout(torch.relu(self.one(x)), 0.25, self.training)
        return x + self.drop(self.two(hidden))


def test_modules_are_recorded_in_the_order_of_their_ends() -> None:
    model = Branch()
    record = trace(model, lambda: model(X))
    assert [call.name for call in record.calls] == ["", "one", "two", "drop"]
    assert [call.name for call in record.ended] == ["one", "two", "drop", ""]
    assert record.visited == {"", "one", "two", "drop"} and not record.nodes and not record.draws


def test_functions_are_linked_by_their_values() -> None:
    model = Branch().eval()
    record = trace(model, lambda: model(X), level="functions", whole=lambda module: isinstance(module, nn.Linear))
    assert [str(node) for node in record.nodes] == ["one", "relu in the model", "two", "add in the model"]
    one, relu, two, add = record.nodes
    assert relu.inputs[0].made is one and two.inputs[0].made is relu and two.outputs[0].uses == [add]
    assert pointwise(relu) and not pointwise(two) and add.outputs[0].returned
    layers = follow(record.nodes, {relu.outputs[0]: "units"}, lambda node, marks: "read" if marks else None)
    assert [value.made for value, mark in layers.items() if mark == "read"] == [two, add]


def test_a_module_that_returns_its_input_can_be_told_from_it() -> None:
    model = nn.Sequential(nn.Dropout(0.5)).eval()
    for distinct, expected in ((True, False), (False, True)):
        out: list[Tensor] = []
        whole = lambda module: isinstance(module, nn.Dropout)  # noqa: E731
        trace(model, lambda out=out: out.append(model(X)), level="functions", whole=whole, distinct=distinct)
        assert (out[0] is X) == expected and out[0].equal(X)


def test_draws_have_a_module_a_line_and_a_use() -> None:
    model = Branch()
    record = trace(model, lambda: model(X), level="draws", inputs=X)
    assert [(draw.name, draw.kind, draw.p) for draw in record.draws] == [("", "dropout", 0.25), ("drop", "dropout", 0.5)]
    assert all(draw.line is not None and "test_trace.py:" in draw.line for draw in record.draws)
    assert record.bytes > record.largest > 0 and record.seconds > 0


@pytest.mark.parametrize("preserve", [True, False])
def test_draws_of_a_recomputation_are_those_of_the_backward_pass(preserve: bool) -> None:
    model, x = Checkpointed(preserve, nn.Dropout(0.5)), torch.randn(4, 32, requires_grad=True)
    record = trace(model, lambda: model(x), level="draws", loss=lambda out: (out * torch.randn(out.shape)).sum())
    (first,), (again,) = record.draws, record.backward_draws  # the draw of the loss is none of the model
    assert first.name == again.name == "block.2" and (first.digest == again.digest) == preserve


def test_values_are_met_and_may_be_replaced() -> None:
    model, met = Branch().eval(), []

    def meet(name: str, side: str, number: int, x: Tensor) -> Tensor | None:
        met.append((name, side, number))
        return torch.zeros_like(x) if side == "call" else None

    at = {("one", "in"), ("two", "out"), ("", "call")}
    outs: list[Tensor] = []
    trace(model, lambda: [outs.append(model(X)) for _ in range(2)], values=Values(at, meet, (F.dropout,)))
    assert met == [("one", "in", 0), ("", "call", 0), ("two", "out", 0)] * 2
    assert all(out.equal(X + model.two.bias) for out in outs)


def test_calls_to_functions_are_shown_with_the_module_that_runs() -> None:
    model, seen = Branch(), []
    functions = Functions((F.dropout,), lambda call, function, args, kwargs: seen.append((call.name, kwargs["p"])))
    trace(model, lambda: model(X), functions=functions)
    assert seen == [("", 0.25), ("drop", 0.5)]


@pytest.mark.parametrize("level", ["modules", "draws"])
def test_no_activation_is_kept(level: Any) -> None:
    model, alive = Branch(), []
    model.one.register_forward_hook(lambda module, args, out: alive.append(weakref.ref(out)))
    with torch.no_grad():
        record = trace(model, lambda: model(X), level=level)
    gc.collect()
    assert record.calls and alive[0]() is None


@pytest.mark.parametrize("level", ["modules", "functions", "draws"])
@pytest.mark.parametrize("own", [False, True])
def test_no_hook_is_left_after_an_error(level: Any, own: bool) -> None:
    model = Branch()
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        trace(model, lambda: model(torch.ones(2, 3)), level=level, own=own)
    assert not everywhere._global_forward_hooks and not everywhere._global_forward_pre_hooks
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_own_hooks_do_not_see_the_modules_of_another_thread() -> None:
    model, other = Branch(), nn.Linear(8, 8)

    def run() -> None:
        thread = threading.Thread(target=lambda: other(X))
        thread.start()
        thread.join()
        model(X)

    assert "<Linear>" in trace(model, run).visited
    assert trace(model, run, own=True).visited == {"", "one", "two", "drop"}
