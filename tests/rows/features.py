"""Rows of the methods whose coin decides a channel, or a region of one."""

from rows.row import Row
from thinnet.methods.features import METHODS

_by_name = {method.name: method for method in METHODS}

ROWS = (
    Row(_by_name["Dropout1d"], ((4, 8, 5), (3, 130, 2))),
    Row(_by_name["Dropout2d"], ((4, 8, 5, 3), (2, 130, 1, 2))),
    Row(_by_name["Dropout3d"], ((4, 8, 2, 2, 3), (2, 130, 1, 2, 1))),
)

OWN_TESTS: dict[str, str] = {}
