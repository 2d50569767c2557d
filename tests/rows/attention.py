"""Rows: methods for attention: its weights, keys and heads."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
