"""The rewriter: replaced methods and intercepted functions."""

import copy
import inspect
import pickle
import threading
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change
from thinnet.models.rewrite.functions import Intercepted, InterceptedForward, Rules, running_module
from thinnet.models.rewrite.methods import Replacement

X = torch.tensor([-1.0, 2.0])


class Doubled(Replacement):
    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        return 2 * self.method(*args, **kwargs)


def _negated(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Tensor:
    return -function(*args, **kwargs)


class Negated(InterceptedForward):
    rules: ClassVar[Rules] = {torch.relu: _negated}


class Relu(nn.Module):
    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        return torch.relu(x) * scale


def test_a_replacement_is_applied_and_undone() -> None:
    model = Relu()
    edit = apply_changes(model, [Change("~", "", "doubled", [Doubled(model).write()])])
    assert model(X).tolist() == [0, 4]
    edit.undo()
    assert model(X).tolist() == [0, 2] and "forward" not in vars(model)


def test_a_replacement_is_copied_and_pickled_with_its_module() -> None:
    model = Relu()
    Doubled(model).put()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert vars(other)["forward"].module is other
        assert other(X).tolist() == [0, 4]


def test_replacements_of_one_method_run_one_inside_the_other() -> None:
    model = Relu()
    Doubled(model).put()
    Negated(model).put()
    assert model(X).tolist() == [0, -4]


def test_a_replacement_keeps_the_signature_of_the_method() -> None:
    model = Relu()
    expected = inspect.signature(model.forward)
    Doubled(model).put()
    assert inspect.signature(model.forward) == expected
    assert model(X, scale=3.0).tolist() == [0, 12]


def test_intercepted_functions_run_by_their_rule_in_one_thread() -> None:
    seen: list[list[float]] = []
    with Intercepted({torch.relu: _negated}):
        assert torch.relu(X).tolist() == [0, -2] and torch.abs(X).tolist() == [1, 2]
        thread = threading.Thread(target=lambda: seen.append(torch.relu(X).tolist()))
        thread.start()
        thread.join()
    assert seen == [[0, 2]] and torch.relu(X).tolist() == [0, 2]


def test_interception_ends_with_an_error() -> None:
    def fails(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Tensor:
        raise RuntimeError("refused")

    with pytest.raises(RuntimeError, match="refused"), Intercepted({torch.relu: fails}):
        torch.relu(X)
    assert torch.relu(X).tolist() == [0, 2]


def test_a_rule_can_ask_for_the_running_module() -> None:
    model, seen = nn.Sequential(Relu()), []

    def notes(mode: Intercepted, function: Any, args: Any, kwargs: Any) -> Tensor:
        seen.append(running_module()[1])
        return function(*args, **kwargs)

    with Intercepted({torch.relu: notes}):
        model(X)
    assert seen == [model[0]]


def test_an_intercepted_forward_compiles_to_one_graph() -> None:
    model = Relu()
    Negated(model).put()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert compiled(X).tolist() == [0, -2]
