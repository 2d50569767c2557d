"""Rows of the closed forms."""

import torch
from torch import nn

from rows.row import METHODS, Row

with torch.random.fork_rng():
    torch.manual_seed(7)
    LINEAR = {"layer": nn.Linear(5, 3)}

ROWS: tuple[Row, ...] = (
    Row(
        METHODS["FastDropout"],
        ((6, 5), (3, 2, 5)),
        LINEAR,
        edges=(0.0,),
        outside=(-0.1, 1.0, 1.5, float("nan"), True, "0.5"),
        resized=True,
        rounded=False,
        kept=64 * 6 * 4 * 4 + 1024,  # the deviations, their squares and the noise
    ),
)
OWN_TESTS: dict[str, str] = {"propagate": "methods/test_moments.py"}
