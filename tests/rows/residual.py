"""Rows of the methods that drop residual branches or whole layers."""

import torch
from torch import Tensor, nn

from rows.elementwise import BELOW_ONE
from rows.row import METHODS, Called, Row
from thinnet.methods.residual.fractal_join import FractalJoin
from thinnet.methods.residual.layer_drop import LayerDrop
from thinnet.methods.residual.stochastic_depth import StochasticDepth


class Slope(nn.Module):
    """A branch with a parameter: a leaky ReLU with a learned slope, in the dtype of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x * self.weight.to(x.dtype))


ROWS: tuple[Row, ...] = (
    Row(METHODS["DropPath"], ((5,), (4, 7), (3, 6, 2), (2, 3, 4, 5))),
    Row(
        METHODS["StochasticDepth"],
        ((5, 3), (4, 3, 2)),
        settings={"branch": Slope()},
        state=("weight",),
        kept=64 * 3 * 4 * 4 * 2,  # of the kept samples: their indices, and the branch's input
        rounded=False,
        outside=(-0.1, 1.5, float("nan"), True, "0.5", 40),
    ),
    Row(
        METHODS["TokenBypass"],
        ((3, 10, 4), (2, 7, 4)),
        settings={"layer": nn.Linear(4, 4), "prefix": 1},
        state=("weight", "bias"),
        compiles=False,  # another rate gives another number of tokens, and so another graph
        kept=64 * 10 * 4 * 8,
        resized=True,
        rounded=False,
        **BELOW_ONE,
    ),
    Row(METHODS["ShakeDrop"], ((5, 3), (4, 3, 2)), kept=400, derivative=False),
)

LAYERS: tuple[Row, ...] = (
    Row(
        METHODS["StochasticDepth"],
        ((5, 3),),
        build=lambda p: StochasticDepth(nn.Linear(3, 3), p, mode="batch"),
        rounded=False,
    ),
    Row(METHODS["ShakeDrop"], ((4, 3, 2),), dict(level="pixel"), derivative=False),
    Row(METHODS["LayerDrop"], ((6, 5),), build=lambda p: LayerDrop([nn.Linear(5, 5) for _ in range(3)], p), rounded=False),
    Row(
        METHODS["FractalJoin"],
        ((6, 5),),
        build=lambda p: Called(lambda join, x: join([x, 2 * x, -x]), FractalJoin(p)),
    ),
)

OWN_TESTS: dict[str, str] = {
    "LayerDrop": "methods/test_residual_layer_drop.py",
    "FractalJoin": "methods/test_residual.py",
    "FractalPath": "methods/test_residual.py",
}
