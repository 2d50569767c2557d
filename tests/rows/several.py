"""Rows: methods that toss several masks in one step."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
