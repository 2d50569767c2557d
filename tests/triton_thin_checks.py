"""What test_triton.py runs with TRITON_INTERPRET=1: the operations of thinned execution against their definitions."""

from collections.abc import Iterator

import pytest
import torch
from thin.test_units import perceptron
from torch import Tensor

import thinnet
from thinnet.ops import gpu, kept
from thinnet.ops import take as plain
from thinnet.ops.triton import kept as selection
from thinnet.ops.triton import take as door

DTYPES = torch.float32, torch.float64, torch.bfloat16, torch.float16


@pytest.fixture
def interpreted() -> Iterator[None]:
    """Lets Triton's interpreter serve the operations on a CPU."""
    stand_in = torch.library.Library("thinnet", "IMPL")
    for name in ("take", "put", "smallest"):
        stand_in.impl(name, gpu.registered[name], "CPU", allow_override=True)
    yield
    stand_in._destroy()


def index(groups: int, count: int, some: int) -> Tensor:
    return torch.stack([torch.randperm(count)[:some] for _ in range(groups)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("shape", "run"), [((7, 40), 1), ((5, 12), 9), ((3, 1500), 1), ((300, 3), 4)], ids=str)
def test_parts_are_taken_and_put(shape: tuple[int, int], run: int, dtype: torch.dtype) -> None:
    for groups in (1, 3):
        x = torch.randn(*shape, run).to(dtype)
        both = index(groups, shape[0], 2 * shape[0] // 3), index(groups, shape[1], shape[1] // 2)
        for rows, columns in (both, (both[0], None), (None, both[1])):
            part = door.take(x, rows, columns)
            assert torch.equal(part, plain._take(x, rows, columns))
            whole, expected = door.put(part, rows, columns, *shape), plain._put(part, rows, columns, *shape)
            rounding = 0 if groups == 1 else 4 * torch.finfo(dtype).eps  # groups are added in float32, and rounded once
            torch.testing.assert_close(whole, expected, rtol=rounding, atol=rounding)


def test_a_place_that_is_not_there_is_not_a_number() -> None:
    x, rows = torch.ones(4, 3, 1), torch.tensor([[0, 4, -1, 3]])
    part = door.take(x, rows, None)[0, :, :, 0]
    assert torch.equal(part.isnan().all(1), torch.tensor([False, True, True, False]))
    few = door.take(x, None, torch.tensor([[3, 2, -1]]))[0, :, :, 0]
    assert torch.equal(few.isnan(), torch.tensor([[True, False, True]]).expand(4, 3))
    assert door.put(torch.ones(1, 4, 3, 1), rows, None, 4, 3)[:, :, 0].sum(1).tolist() == [3, 0, 0, 3]


def test_empty_parts() -> None:
    none = torch.empty(2, 0, dtype=torch.int64)
    assert door.take(torch.ones(4, 3, 1), none, None).shape == (2, 0, 3, 1)
    assert door.put(torch.ones(2, 0, 3, 1), none, None, 4, 3).tolist() == torch.zeros(4, 3, 1).tolist()


@pytest.mark.parametrize("values", [2**23, 4, 1])
@pytest.mark.parametrize(("units", "width", "whole"), [(1000, 512, 499), (1, 1, 0), (37, 37, 37), (5, 0, 0), (256, 128, 120)])
def test_the_smallest_units_are_those_of_a_stable_sort(units: int, width: int, whole: int, values: int) -> None:
    numbers = (torch.randint(0, values, (3, units + 1)) * 2 + 1) * (2.0**-24 if values == 2**23 else 0.5 / values)
    more = 0.0 if whole == units else 0.5
    ours, theirs = selection.smallest(numbers, width, whole, more), kept.in_order(numbers, width, whole, more)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1]) and ours[1].dtype == torch.bool


def test_more_units_than_a_program_holds_are_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST", 10)
    monkeypatch.setattr(selection, "launch", None)
    numbers = torch.rand(2, 33)
    assert torch.equal(selection.smallest(numbers, 7, 7, 0.0)[0], kept.in_order(numbers, 7, 7, 0.0)[0])


def test_the_operations_pass_the_checks_of_pytorch(interpreted: None) -> None:
    x, rows = torch.randn(4, 6, 2, requires_grad=True), torch.tensor([[3, 0], [1, 2]])
    torch.library.opcheck(torch.ops.thinnet.take.default, (x, rows, None))
    torch.library.opcheck(torch.ops.thinnet.put.default, (torch.randn(2, 2, 6, 2, requires_grad=True), rows, None, 4, 6))


def test_a_thinned_network_has_the_gradients_of_the_cpu(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    for module in (door, selection):
        launch = module.launch
        monkeypatch.setattr(module, "launch", lambda *each, launch=launch: (ran.append(each[1][0]), launch(*each)))
    torch.manual_seed(0)
    model, x, found = perceptron(), torch.randn(8, 13), []
    thinnet.thin(model, x, groups=2, always=True)
    for serve in ("cpu", "interpreted"):
        if serve == "interpreted":
            request.getfixturevalue(serve)
        torch.manual_seed(3)
        found.append(torch.autograd.grad(model(x).square().sum(), list(model.parameters())))
    torch.testing.assert_close(found[0], found[1])
    assert {"take", "put", "inverse", "smallest"} <= set(ran)
