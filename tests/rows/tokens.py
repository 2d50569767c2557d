"""Rows: methods whose coin decides a word, a token or a patch."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
