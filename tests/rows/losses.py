"""Rows of the losses that use several masks for each sample."""

from rows.row import Row

ROWS: tuple[Row, ...] = ()
OWN_TESTS: dict[str, str] = {
    "MultiSample": "methods/test_multi_sample.py",
    "r_drop_loss": "methods/test_losses.py",
    "fraternal_loss": "methods/test_losses.py",
    "consistency_loss": "methods/test_losses.py",
}
