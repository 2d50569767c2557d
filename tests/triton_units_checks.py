"""What test_triton.py runs with TRITON_INTERPRET=1: rates of each unit and blocks against their composition, bit by bit."""

from collections.abc import Callable, Iterator

import pytest
import torch
from test_units import DTYPES, assert_the_same, importance, outcome
from torch import nn

import thinnet
from thinnet.ops import gpu, units
from thinnet.ops.triton import units as door

CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "features": (lambda: importance(70), (3, 2, 70)),
    "few features": (lambda: importance(3), (30, 3)),
    "channels": (lambda: importance(5, 1), (3, 5, 4, 3)),
    "one axis": (lambda: importance(70), (70,)),
    "rates of samples": (lambda: thinnet.nn.Jumpout(0.3), (3, 130)),
    "rates given": (lambda: thinnet.nn.Dropout(torch.linspace(0, 1, 64)), (4, 64)),
    "more than a program": (lambda: importance(3000), (2, 3000)),
    "lines": (lambda: thinnet.nn.DropBlock1d(0.2, 5), (3, 2, 90)),
    "long blocks of a line": (lambda: thinnet.nn.DropBlock1d(0.3, 70), (2, 3, 200)),
    "a block as long as a word": (lambda: thinnet.nn.DropBlock1d(0.3, 32), (2, 3, 100)),
    "a line of more than one program": (lambda: thinnet.nn.DropBlock1d(0.1, 33), (2, 1, 1100)),
    "squares": (lambda: thinnet.nn.DropBlock2d(0.2, 4), (3, 5, 9, 9)),
    "oblongs": (lambda: thinnet.nn.DropBlock2d(0.3, (3, 9)), (2, 2, 7, 40)),
    "shared squares": (lambda: thinnet.nn.DropBlock2d(0.2, 3, shared=True), (3, 3, 6, 7)),
    "spans of tokens": (lambda: thinnet.nn.HiddenCut(0.4), (3, 5, 30)),
    "squares of pictures": (lambda: thinnet.nn.Cutout(4), (3, 2, 9, 11)),
    "normal noise of features": (lambda: thinnet.nn.VariationalDropout(70), (2, 3, 70)),
    "normal noise of a layer": (lambda: thinnet.nn.VariationalDropout(65, per="layer"), (3, 65)),
    "normal noise that is added": (lambda: thinnet.nn.GaussianNoise(0.3), (3, 130)),
    "boxes": (lambda: thinnet.nn.DropBlock3d(0.2, 3), (2, 2, 4, 5, 6)),
}


@pytest.fixture
def interpreted() -> Iterator[None]:
    """Lets Triton's interpreter serve the operations on a CPU."""
    stand_in = torch.library.Library("thinnet", "IMPL")
    for name in ("select_units", "scale_units", "gaussian_units", "add_gaussian", "drop_blocks"):
        stand_in.impl(name, gpu.registered[name], "CPU", allow_override=True)
    stand_in.impl("gaussian_units_backward", units.composed_backward, "CPU", allow_override=True)
    yield
    stand_in._destroy()


@pytest.mark.parametrize("name", CASES)
def test_the_kernels_have_the_bits_of_the_composition(name: str, interpreted: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward, without addresses and with them; each case has its dtypes in turn."""
    make, shape = CASES[name]
    ran = []
    launch = door.launch
    monkeypatch.setattr(door, "launch", lambda *arguments: (ran.append(1), launch(*arguments)))
    turn, dtypes = list(CASES).index(name), DTYPES if "DropBlock" in str(make()) else units.DTYPES
    for addressed in (False, True)[: 1 + (len(shape) > 1)]:
        model = nn.Sequential(make())
        if addressed:
            thinnet.DropoutRNG(5).bind(model).at(3, samples=2**32 - 1 - 7 * torch.arange(shape[0]))
        x = torch.randn(shape).to(dtypes[(turn + addressed) % len(dtypes)])
        x.flatten()[0] = torch.inf
        fast = outcome(model, x)
        with monkeypatch.context() as patch:
            patch.setattr(units, "served", lambda *_: False)
            composed = outcome(model, x)
        assert_the_same(fast, composed)
    assert len(ran) >= (1 if "added" in name else 2) * min(2, len(shape))  # forward and backward


def test_the_operations_pass_the_checks_of_pytorch(interpreted: None) -> None:
    x, address = torch.randn(2, 3, 5), (torch.tensor(3), None, None, None)
    rate = torch.linspace(0, 1, 5).expand(2, 3, 5)
    torch.library.opcheck(torch.ops.thinnet.select_units.default, (x, rate, rate, 0, *address))
    torch.library.opcheck(torch.ops.thinnet.scale_units.default, (x, rate))
    for operation in (torch.ops.thinnet.gaussian_units, torch.ops.thinnet.add_gaussian):
        torch.library.opcheck(operation.default, (x, rate, *address))
    torch.library.opcheck(torch.ops.thinnet.gaussian_units_backward.default, (x, x, rate, *address))
    torch.library.opcheck(torch.ops.thinnet.drop_blocks.default, (x, torch.ones(5), 1 << 22, [2], False, *address))


def test_empty_tensors() -> None:
    x, address = torch.empty(0, 3, 5), (torch.tensor(3), None, None, None)
    assert door.select_units(x, x, x, 0, *address).shape == door.drop_blocks(x, x, 3, [2], False, *address).shape == x.shape


def test_axes_that_continue_each_other_are_one() -> None:
    assert door.joined((4, 5, 6, 7), (0, 0, 0, 0)) == [(840, 0)]
    assert door.joined((4, 5, 6, 7), (0, 42, 7, 1)) == [(210, 1), (4, 0)]
    assert door.joined((1, 1), (0, 0)) == [(1, 0)]
