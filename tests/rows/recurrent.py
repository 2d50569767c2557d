"""Rows of the methods for recurrent networks."""

import torch
from torch import Tensor

from rows.row import METHODS, Row
from thinnet.methods.recurrent import zoneout

SHAPES = (4, 6, 5), (3, 7, 130)
OLD = torch.tensor(-0.5)


class Zoneout(zoneout.Zoneout):
    """Zoneout of one tensor, with a fixed previous state."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, OLD)


ROWS = (
    Row(METHODS["LockedDropout"], SHAPES, settings={"batch_first": True}),
    Row(METHODS["Zoneout"], ((4, 6), (3, 130)), settings={"old": OLD}, build=Zoneout, kept=64 * 6 + 64),
)
_LAYERS = "methods/test_recurrent_layers.py"
OWN_TESTS: dict[str, str] = {name: _LAYERS for name in METHODS if name.endswith(("LSTM", "GRU"))}
