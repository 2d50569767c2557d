"""One row for each method that maps a tensor to a tensor: every invariant holds for it. Other methods name their own tests.

`LAYERS` are rows of methods with tests of their own: the invariants of transforms and of low precision hold for them too.
"""

from rows import (
    attention,
    elementwise,
    experts,
    graphs,
    inputs,
    learned,
    losses,
    moments,
    recurrent,
    residual,
    spatial,
    tokens,
    weights,
)

_FOLDERS = (
    elementwise,
    learned,
    spatial,
    weights,
    recurrent,
    attention,
    residual,
    tokens,
    inputs,
    experts,
    graphs,
    losses,
    moments,
)

ROWS = tuple(row for folder in _FOLDERS for row in folder.ROWS)
LAYERS = tuple(row for folder in _FOLDERS for row in getattr(folder, "LAYERS", ()))
OWN_TESTS = {name: path for folder in _FOLDERS for name, path in folder.OWN_TESTS.items()}
