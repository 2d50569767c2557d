"""Rows: methods whose coin decides an edge or a node of a graph."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
