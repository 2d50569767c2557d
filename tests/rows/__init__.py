"""One row for each method that maps a tensor to a tensor: every invariant holds for it. Other methods name their own tests."""

from rows import (
    attention,
    elementwise,
    graphs,
    learned,
    losses,
    moments,
    recurrent,
    residual,
    spatial,
    tokens,
    weights,
)

_FOLDERS = (elementwise, learned, spatial, weights, recurrent, attention, residual, tokens, graphs, losses, moments)

ROWS = tuple(row for folder in _FOLDERS for row in folder.ROWS)
OWN_TESTS = {name: path for folder in _FOLDERS for name, path in folder.OWN_TESTS.items()}
