"""Rows: methods for the time steps of recurrent networks."""

import torch
from torch import Tensor

from rows.row import Row
from thinnet.methods.recurrent import METHODS, zoneout

SHAPES = (4, 6, 5), (3, 7, 130)
OLD = torch.tensor(-0.5)
_by_name = {method.name: method for method in METHODS}


class Zoneout(zoneout.Zoneout):
    """Zoneout of one tensor: the time step before is given."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, OLD)


ROWS = (
    Row(_by_name["LockedDropout"], SHAPES, settings={"batch_first": True}),
    Row(_by_name["Zoneout"], ((4, 6), (3, 130)), settings={"old": OLD}, build=Zoneout, kept=64 * 6 + 64),
)
_LAYERS = "methods/test_recurrent_layers.py"
OWN_TESTS: dict[str, str] = {method.name: _LAYERS for method in METHODS if method.name.endswith(("LSTM", "GRU"))}
