"""Rows: methods whose coin decides an edge or a node of a graph."""

from rows.row import METHODS, Row

ROWS: tuple[Row, ...] = (Row(METHODS["DropNode"], ((5, 7), (3, 130), (2, 3, 4))),)

OWN_TESTS: dict[str, str] = {"DropEdge": "methods/test_graphs.py", "DropNodes": "methods/test_graphs.py"}
