"""Rows: methods whose coin decides an edge or a node of a graph."""

from rows.row import Row
from thinnet.methods.graphs import METHODS

_by_name = {method.name: method for method in METHODS}

ROWS: tuple[Row, ...] = (Row(_by_name["DropNode"], ((5, 7), (3, 130), (2, 3, 4))),)

OWN_TESTS: dict[str, str] = {"DropEdge": "methods/test_graphs.py", "DropNodes": "methods/test_graphs.py"}
