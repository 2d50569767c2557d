"""Rows: methods whose rates follow the network: its activations, its weights, or how much a unit matters."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {}
