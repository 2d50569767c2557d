"""Rows of the methods that drop words, tokens or patches."""

import torch

from rows.elementwise import BELOW_ONE, sized
from rows.row import METHODS, Called, Row
from thinnet.functional import embedding_dropout

ROWS = (
    Row(METHODS["TokenDropout"], ((4, 8, 5), (3, 130, 2), (2, 5, 2, 3))),
    Row(
        METHODS["PatchDropout"],
        ((3, 10, 4), (2, 130, 2)),
        dict(prefix=1),
        resized=True,
        compiles=False,  # another rate gives another number of tokens, and so another graph
        kept=64 * 10 * 8,
        **BELOW_ONE,
    ),
    Row(
        METHODS["PatchDropout"],
        ((3, 9, 4),),
        dict(prefix=0, ordered=False),
        resized=True,
        compiles=False,
        kept=5000,
        **BELOW_ONE,
    ),
    Row(METHODS["HiddenCut"], ((4, 8, 5), (3, 40, 2)), rates=(0.25, 0.5, 0.875), kept=64 * 8),  # rates that cut whole tokens
    Row(METHODS["NEFTune"], ((4, 8, 5), (3, 130, 2)), **sized("NEFTune")),
    Row(METHODS["SpanMasking"], ((4, 8, 5), (3, 40, 2)), dict(length=3), kept=64 * 13),
    Row(METHODS["SpanMasking"], ((3, 4, 2),), dict(length=10), kept=64 * 22),  # longer than the sequence
)

IDS = torch.arange(12).reshape(3, 4) % 7
LAYERS: tuple[Row, ...] = (
    Row(
        METHODS["EmbeddingDropout"],
        ((9, 5),),
        build=lambda p: Called(lambda table, on: embedding_dropout(IDS, table, p, training=on)),
        resized=True,
    ),
)

OWN_TESTS: dict[str, str] = {
    "EmbeddingDropout": "methods/test_tokens_embedding.py",
    "WordDropout": "methods/test_tokens_word.py",
}
