"""Fused attention with dropout in the models of Hugging Face: `attn_implementation="thinnet"`."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from thinnet.methods.attention.attention import attention
from thinnet.ops.attention import is_faster


def register_attention(name: str = "thinnet") -> None:
    """Registers thinnet's attention with transformers under a name; a model takes it by `attn_implementation=name`.

    It runs `thinnet.functional.attention`, whose seeds come from torch's generator. For addressed masks call
    `thinnet.replace(model, functional=True, example=batch)` and `DropoutRNG(seed).bind(model)`. The attention
    layer at PATH has the site "PATH.dropout_calls.0".

    >>> import transformers
    >>> register_attention()
    >>> sizes = dict(vocab_size=10, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    >>> config = transformers.LlamaConfig(**sizes, attention_dropout=0.1, attn_implementation="thinnet")
    >>> transformers.LlamaForCausalLM(config)(torch.tensor([[1, 2, 3]])).logits.shape
    torch.Size([1, 3, 10])
    """
    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, sdpa_mask)


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Returns attention `(B, T, H, D)`, and no weights: an attention function of transformers."""
    slower = dropout == 0 and not is_faster(query, key, value)
    if slower or kwargs.get("cache") is not None or kwargs.get("softcap") is not None:  # the latter is refused there
        more = kwargs if position_bias is None else kwargs | {"position_bias": position_bias}
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **more)  # pyright: ignore[reportArgumentType]
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    causal = bool(causal) and attention_mask is None and query.shape[2] > 1
    mask = attention_mask
    if position_bias is not None and (attention_mask is None or attention_mask.dtype != torch.bool):
        mask = position_bias if attention_mask is None else position_bias + attention_mask
    elif position_bias is not None:
        mask = position_bias.where(attention_mask, -torch.inf)  # pyright: ignore[reportArgumentType, reportCallIssue]
    if causal and mask is not None:
        past = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
        mask, causal = mask.where(past, -torch.inf), False
    options: dict[str, Any] = {"mask": mask, "is_causal": causal, "scale": scaling, "enable_gqa": True}
    y = attention(query, key, value, p=dropout, training=dropout > 0, **options)
    return y.transpose(1, 2).contiguous(), None
