"""One row a method that turns a tensor into a tensor: the laws hold for every row. The others name the tests of their own."""

from rows import (
    adaptive,
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

_FOLDERS = (elementwise, adaptive, learned, spatial, weights, recurrent, attention, residual, tokens, graphs, losses, moments)

ROWS = tuple(row for folder in _FOLDERS for row in folder.ROWS)
OWN_TESTS = {name: path for folder in _FOLDERS for name, path in folder.OWN_TESTS.items()}
