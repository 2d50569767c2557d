"""Rows of the methods for recurrent networks."""

import torch
from torch import Tensor

from rows.row import METHODS, Called, Row
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


def layer(kind: str, *rates: str, **settings: object) -> Row:
    """A recurrent layer that returns its output alone."""
    make = METHODS[kind].module
    assert make is not None

    def build(p: float) -> Called:
        return Called(lambda rnn, x: rnn(x)[0], make(5, 4, **dict.fromkeys(rates or ("p",), p), **settings))

    return Row(METHODS[kind], ((4, 3, 5),), build=build, resized=True, rounded=False)


LAYERS = (
    layer("VariationalLSTM", "p_input", "p_hidden", bidirectional=True),
    layer("VariationalLSTM", "p_input", "p_hidden", tied=False),
    layer("VariationalGRU", "p_input", "p_hidden", "p_output"),
    layer("VariationalGRU", "p_input", "p_hidden", tied=False, bidirectional=True),
    layer("ZoneoutLSTM", "p_cell", "p_hidden", num_layers=2),
    layer("ZoneoutGRU"),
    layer("RecurrentDropoutLSTM", proj_size=3),
    layer("RecurrentDropoutGRU", per_step=False),
    layer("RNNDropLSTM", proj_size=3),
)

_LAYERS = "methods/test_recurrent_layers.py"
OWN_TESTS: dict[str, str] = {name: _LAYERS for name in METHODS if name.endswith(("LSTM", "GRU"))}
