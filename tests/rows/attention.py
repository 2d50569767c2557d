"""Rows of the methods for attention."""

from dataclasses import replace

import torch
from torch import Tensor

from rows.elementwise import BELOW_ONE
from rows.row import METHODS, Called, Row
from thinnet.methods.attention.multihead_attention import MultiheadAttention

WEIGHTS = ((2, 3, 4, 5), (3, 2, 7, 33))
KEPT = 64 * 3 * 4 * (5 + 4) * 4  # the weights after dropout, and a few numbers per row

_drop_head = METHODS["DropHead"]
SHARED = _drop_head._replace(facts=replace(_drop_head.facts, per_batch=True))


def softmax(shape: tuple[int, ...]) -> Tensor:
    """Attention weights: rows that sum to 1."""
    return torch.randn(shape).softmax(-1)


ROWS: tuple[Row, ...] = (
    Row(METHODS["AttentionDropout"], WEIGHTS, inputs=softmax),
    Row(METHODS["DropAttention"], WEIGHTS, inputs=softmax, kept=KEPT, **BELOW_ONE),
    Row(METHODS["DropAttention"], WEIGHTS, dict(columns=True), inputs=softmax, kept=KEPT, **BELOW_ONE),
    Row(METHODS["DropHead"], ((4, 8, 5, 3), (2, 5, 3, 4)), kept=64 * 8 * 5, **BELOW_ONE),  # a decision and a scale per head
    Row(METHODS["DropHead"], ((4, 8, 5, 3), (2, 1, 3)), dict(rescale="rate"), **BELOW_ONE),
    Row(SHARED, ((4, 8, 5, 3), (2, 5, 3, 4)), dict(shared=True), **BELOW_ONE),
    Row(SHARED, ((4, 8, 5, 3), (2, 1, 3)), dict(shared=True, rescale="rate"), **BELOW_ONE),
)

LAYERS: tuple[Row, ...] = (
    Row(METHODS["DropKey"], WEIGHTS[:1], inputs=torch.randn),
    Row(METHODS["DropAttention"], WEIGHTS[:1], dict(window=2), inputs=softmax),
    Row(
        METHODS["MultiheadAttention"],
        ((3, 4, 8),),
        build=lambda p: Called(lambda layer, x: layer(x, x, x)[0], MultiheadAttention(8, 2, dropout=p, batch_first=True)),
        resized=True,
        rounded=False,
    ),
)

OWN_TESTS: dict[str, str] = {
    "DropKey": "methods/test_attention.py",
    "MultiheadAttention": "methods/test_attention.py",
}
