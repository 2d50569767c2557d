"""Multi-head attention whose dropout is a dropout site."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.attention.attend import WeightsSite, attend, logits, softmax
from thinnet.methods.attention.attention import attention
from thinnet.methods.attention.attention_dropout import AttentionDropout
from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.attention.kept_heads import Heads, kept_heads, kernel_skips
from thinnet.methods.attention.masks import added
from thinnet.methods.facts import Facts, Method, Use
from thinnet.ops.attention import is_faster
from thinnet.rng import Site
from thinnet.rng.context import capturing

FACTS = Facts(used_by=(Use("PyTorch", "torch.nn.MultiheadAttention(dropout=0.0)"),))


class MultiheadAttention(nn.Module):
    """Multi-head attention whose dropout is a site, of any kind. Replaces `torch.nn.MultiheadAttention`.

        y = W_o [heads_1; ...; heads_H],  heads = drop_head(drop(softmax(q k' / sqrt(d) + mask)) v)

    Arguments, state and results in eval are those of PyTorch's class.

    The sites are the children "dropout" and "heads". Each follows its own mode: `layer.dropout.train()` in a model in eval
    drops, also inside `torch.nn.TransformerEncoderLayer`, whose fused path stays disabled. Differences from PyTorch: the
    returned weights are those before dropout, so their rows sum to 1; a query that may attend to nothing returns zeros, never
    NaN; `is_causal` needs no mask.

    With `drop_head=DropHead(p)` the fused kernel skips the dropped heads. With `DropHead(p, shared=True)` training does not
    project them either: it computes neither their rows of the projections nor their columns of the output projection, whose
    gradients are zero. It computes all heads if the weights are requested (`need_weights` is True by default, as in PyTorch),
    and in compiled or captured code.

    Noise shape: that of the chosen site: a weight, a key or a head.
    Use when: in place of PyTorch's attention; a checkpoint of torch.nn.MultiheadAttention loads.
    Avoid when: nested tensors are passed; pad them.
    Start with: p = 0.1 on the weights, no dropped heads.
    Cost: thinnet's fused kernel if weights are dropped, and the faster of PyTorch's and thinnet's if none is dropped or
        requested; neither stores the weights. Requested weights, and DropAttention with a window, are computed and stored.
    Other implementations: torch.nn.MultiheadAttention. Its dropout is no module, so tools that search modules miss it. In
        training it returns the weights after dropout. In eval its encoder layer calls a fused kernel that bypasses all modules.

    Args:
        embed_dim: features of a query and of an output, E.
        num_heads: H; it divides E.
        dropout: rate of attention dropout, or a site: `DropKey(p)` drops logits, any other, such as `DropAttention(p)`,
            weights. None adds no site. A rate of 0 adds one that a schedule can raise, so compiled training then uses the path
            of a site.
        bias: whether the projections have biases.
        add_bias_kv: whether a learned key and value is appended.
        add_zero_attn: whether a key and value of zeros is appended.
        kdim: features of a key; E if None.
        vdim: features of a value; E if None.
        batch_first: whether sequences are `(B, T, E)`; else `(T, B, E)`. Without a batch, `(T, E)`.
        device: of the parameters.
        dtype: of the parameters.
        drop_head: rate of `DropHead`, or a site that takes `(B, H, T, D)`; None adds no site.

    Shapes: queries `(T, B, E)`, `(B, T, E)` or `(T, E)` to outputs of that shape, and weights `(B, T, S)` or `(B, H, T, S)`.

    Raises: ValueError if E is no multiple of H, or a rate is outside of its domain; TypeError if `dropout` is a module but no
        site.

    Source: Vaswani et al. 2017, arXiv:1706.03762; Zhou et al. 2020, arXiv:2004.13342.

    >>> from thinnet.nn import DropKey
    >>> layer, x = MultiheadAttention(16, 4, dropout=DropKey(0.3), drop_head=0.2, batch_first=True), torch.randn(2, 5, 16)
    >>> y, weights = layer(x, x, x)
    >>> y.shape, torch.allclose(weights.sum(-1), torch.ones(2, 5))
    (torch.Size([2, 5, 16]), True)
    """

    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    q_proj_weight: Tensor
    k_proj_weight: Tensor
    v_proj_weight: Tensor
    bias_k: Tensor | None
    bias_v: Tensor | None
    _qkv_same_embed_dim = False  # keeps PyTorch's encoder from its fused path, which would call no site

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float | Site | None = None,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        drop_head: float | Site | None = None,
    ) -> None:
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            rule = "must be a multiple of num_heads, both at least 1"
            raise ValueError(f"MultiheadAttention: embed_dim {rule}; got {embed_dim} and {num_heads}. Try 64 a head.")
        if isinstance(dropout, nn.Module) and not isinstance(dropout, Site):
            raise TypeError(f"MultiheadAttention: dropout must be a rate or a site; got {dropout}. Try AttentionDropout(p).")
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        self.dropout = dropout if dropout is None or isinstance(dropout, Site) else AttentionDropout(dropout)
        self.heads = drop_head if drop_head is None or isinstance(drop_head, Site) else DropHead(drop_head)
        self._make_parameters(bias, add_bias_kv, {"device": device, "dtype": dtype})

    def _make_parameters(self, bias: bool, add_bias_kv: bool, like: dict) -> None:
        size = self.embed_dim
        whole = self.kdim == size and self.vdim == size
        shapes: dict[str, tuple[int, ...] | None] = {"in_proj_weight": (3 * size, size) if whole else None}
        for name, inner in (("q", size), ("k", self.kdim), ("v", self.vdim)):
            shapes[f"{name}_proj_weight"] = None if whole else (size, inner)
        shapes["in_proj_bias"] = (3 * size,) if bias else None
        shapes |= dict.fromkeys(("bias_k", "bias_v"), (1, 1, size) if add_bias_kv else None)
        for name, shape in shapes.items():
            self.register_parameter(name, None if shape is None else nn.Parameter(torch.empty(shape, **like)))
        self.out_proj = nn.Linear(size, size, bias=bias, **like)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialises the parameters as `torch.nn.MultiheadAttention` does."""
        for name, parameter in self.named_parameters(recurse=False):
            if name == "in_proj_bias":
                nn.init.zeros_(parameter)
                nn.init.zeros_(self.out_proj.bias)
            else:
                (nn.init.xavier_normal_ if name.startswith("bias") else nn.init.xavier_uniform_)(parameter)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Returns outputs shaped as `query`, and the attention weights before dropout, or None.

        Args:
            query: `(T, B, E)`, `(B, T, E)` or `(T, E)`.
            key: the same with S for T and `kdim` for E.
            value: the same with S for T and `vdim` for E.
            key_padding_mask: `(B, S)` or `(S,)`: True at padding, or numbers that are added to the logits.
            need_weights: whether the weights are computed and returned, `(B, T, S)` or `(B, H, T, S)`.
            attn_mask: `(T, S)` or `(B H, T, S)`: True where a query may not attend, or numbers that are added to the logits.
            average_attn_weights: whether the returned weights are averaged over the heads.
            is_causal: whether query t attends to the keys 0 .. t only; a hint if `attn_mask` is given.
        """
        heads = None if need_weights else kept_heads(self.heads, self, query, self.num_heads)
        q, k, v = self._projected(query, key, value, heads)
        keys = k.shape[2]
        k, v = self._extended(k, v, heads)
        if is_causal and attn_mask is None:
            attn_mask = torch.ones(q.shape[2], keys, dtype=torch.bool, device=q.device).triu(1)
        causal = is_causal and key_padding_mask is None and not need_weights and k.shape[2] == keys
        mask = None if causal else added(attn_mask, key_padding_mask, q, keys, self.num_heads)
        if mask is not None:
            mask = F.pad(mask if heads is None else heads.select(mask), (0, k.shape[2] - keys))
        y, weights = self._attended(q, k, v, mask, causal, need_weights, heads)
        y = (y.permute(2, 0, 1, 3) if query.ndim == 3 and not self.batch_first else y.transpose(1, 2)).flatten(2)
        y = self.out_proj(y) if heads is None else heads.joined(y, self.out_proj)
        weights = weights.mean(1) if weights is not None and average_attn_weights else weights
        if query.ndim == 2:
            return y.squeeze(0), weights if weights is None else weights.squeeze(0)
        return y, weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, heads: Heads | None) -> list[Tensor]:
        """Returns queries, keys and values of the heads as `(B, H, T, D)`."""
        if query.is_nested or query.ndim not in (2, 3):
            kind = "nested" if query.is_nested else f"of shape {tuple(query.shape)}"
            step = "Pad it; in a TransformerEncoder, set encoder.use_nested_tensor = False."
            raise ValueError(f"MultiheadAttention: query must be a dense tensor of 2 or 3 axes; got one {kind}. {step}")
        whole, bias = self.in_proj_weight, self.in_proj_bias
        separate = [] if whole is not None else [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        if heads is not None:
            whole, bias = (each if each is None else heads.projection(each, 3) for each in (whole, bias))
            separate = [heads.projection(each) for each in separate]
        if whole is not None and query is key and key is value:
            projected = F.linear(query, whole, bias).chunk(3, -1)
        else:
            parts = separate if whole is None else whole.chunk(3)
            biases = (None, None, None) if bias is None else bias.chunk(3)
            projected = [F.linear(*each) for each in zip((query, key, value), parts, biases, strict=True)]
        return [self._split(x if query.ndim == 3 else x[None], self.batch_first or query.ndim == 2) for x in projected]

    def _split(self, x: Tensor, batch_first: bool) -> Tensor:
        x = x.unflatten(-1, (-1, self.head_dim))
        return x.transpose(1, 2) if batch_first else x.permute(1, 2, 0, 3)

    def _extended(self, k: Tensor, v: Tensor, heads: Heads | None) -> tuple[Tensor, Tensor]:
        """Appends the learned key and value, and those of zeros."""
        if self.bias_k is not None and self.bias_v is not None:
            more = [self._split(each, True) for each in (self.bias_k, self.bias_v)]
            more = more if heads is None else [heads.select(each) for each in more]
            k, v = (torch.cat((x, each.expand(*x.shape[:2], 1, -1)), 2) for x, each in zip((k, v), more, strict=True))
        return (F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))) if self.add_zero_attn else (k, v)

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, need_weights: bool, heads: Heads | None
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the outputs of the heads behind their dropout, and the weights before dropout if requested."""
        site = self.dropout if self.dropout is not None and _drops(self.dropout, q) else None
        drop = self.heads if heads is None else None  # the kept heads need no more
        drawn = drop.factors if isinstance(drop, DropHead) and kernel_skips(drop, q) else None
        weights = softmax(logits(q, k, mask, causal, None), mask is not None) if need_weights else None
        if isinstance(site, WeightsSite) and site.fusable:
            numbers = {} if heads is None else {"heads": heads.rows}
            y = site(q, k, v, mask=mask, is_causal=causal, factors=drawn, **numbers)
            return y if drop is None or drawn is not None else drop(y), weights
        if site is None and drawn is not None and is_faster(q, k, v):
            return attend(None, q, k, v, mask=mask, is_causal=causal, head_scale=drawn(q)), weights
        if site is None and not need_weights:
            y = attend(None, q, k, v, mask=mask, is_causal=causal)
            return y if drop is None else drop(y), None
        whole = weights if weights is not None else softmax(logits(q, k, mask, causal, None), mask is not None)
        noisy = whole if site is None else site(whole) if heads is None else heads.apply(site, whole)
        return noisy @ v if drop is None else drop(noisy @ v), weights

    def extra_repr(self) -> str:
        return f"embed_dim={self.embed_dim}, num_heads={self.num_heads}, batch_first={self.batch_first}"


def _drops(site: Site, x: Tensor) -> bool:
    """Returns whether a site drops. Compiled and captured code must not depend on its rate, which a schedule changes."""
    kept = torch.compiler.is_compiling() or capturing(x.device)
    return site.training and (kept or site.p != 0)


METHODS = (Method(FACTS, MultiheadAttention, attention, title="Attention with dropout"),)
