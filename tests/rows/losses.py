"""Rows of the losses that use several masks for each sample."""

from torch import nn

from rows.row import METHODS, Row

ROWS: tuple[Row, ...] = ()
LAYERS: tuple[Row, ...] = (Row(METHODS["MultiSample"], ((3, 5),), dict(head=nn.Linear(5, 4)), resized=True, rounded=False),)
OWN_TESTS: dict[str, str] = {
    "MultiSample": "methods/test_multi_sample.py",
    "GradDrop": "methods/test_grad_drop.py",
    "r_drop_loss": "methods/test_losses.py",
    "fraternal_loss": "methods/test_losses.py",
    "consistency_loss": "methods/test_losses.py",
}
