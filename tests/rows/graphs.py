"""Rows of the methods that drop edges or nodes of a graph."""

from rows.row import METHODS, Row

ROWS: tuple[Row, ...] = (Row(METHODS["DropNode"], ((5, 7), (3, 130), (2, 3, 4))),)

OWN_TESTS: dict[str, str] = dict.fromkeys(("DropEdge", "DropMessage", "DropNodes", "DropWalks"), "methods/test_graphs.py")
