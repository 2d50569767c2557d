"""Methods for attention: its weights, keys and heads."""

from thinnet.methods.attention import (
    attention,
    attention_dropout,
    drop_attention,
    drop_head,
    drop_key,
    multihead_attention,
)
from thinnet.methods.facts import Method

METHODS: tuple[Method, ...] = (
    Method(
        attention_dropout.FACTS,
        attention_dropout.AttentionDropout,
        attention_dropout.attention_dropout,
        lambda x: attention_dropout.attention_dropout(x, 0.3, training=True),
    ),
    Method(
        drop_attention.FACTS,
        drop_attention.DropAttention,
        drop_attention.drop_attention,
        lambda x: drop_attention.drop_attention(x[None], 0.3, window=4, columns=True, training=True)[0],
    ),
    Method(drop_key.FACTS, drop_key.DropKey, drop_key.drop_key),
    Method(drop_head.FACTS, drop_head.DropHead, drop_head.drop_head),
    Method(multihead_attention.FACTS, multihead_attention.MultiheadAttention, attention.attention),
)
