"""Rows: methods whose coin decides a weight."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
