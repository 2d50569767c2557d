"""Rows: methods whose coin decides a branch or a whole layer."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
