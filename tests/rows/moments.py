"""Rows: closed forms: what dropout does to a network on average, without a coin."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
