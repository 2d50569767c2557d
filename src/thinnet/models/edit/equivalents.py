"""The sites of thinnet that do the same as dropout modules and dropout functions of PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.attention.attend import WeightsSite
from thinnet.methods.attention.attention import attention
from thinnet.methods.attention.attention_dropout import AttentionDropout
from thinnet.methods.attention.drop_attention import DropAttention
from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.attention.drop_key import DropKey
from thinnet.methods.attention.multihead_attention import MultiheadAttention
from thinnet.methods.elementwise.alpha_dropout import AlphaDropout, FeatureAlphaDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.spatial.spatial_dropout import Dropout1d, Dropout2d, Dropout3d
from thinnet.rng import Site
from thinnet.rng.context import capturing

ATTENTION = F.scaled_dot_product_attention
OURS = {"query": "q", "key": "k", "value": "v", "attn_mask": "mask"}
INPUT = ("input", "p", "training", "inplace")
QUERY = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
MODULES: dict[type[nn.Module], type[Site]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: Dropout1d,
    nn.Dropout2d: Dropout2d,
    nn.Dropout3d: Dropout3d,
    nn.AlphaDropout: AlphaDropout,
    nn.FeatureAlphaDropout: FeatureAlphaDropout,
}
FUNCTIONS: dict[Callable[..., Any], type[Site]] = {
    F.dropout: Dropout,
    torch.dropout: Dropout,
    torch.dropout_: Dropout,
    F.dropout1d: Dropout1d,
    F.dropout2d: Dropout2d,
    F.dropout3d: Dropout3d,
    F.alpha_dropout: AlphaDropout,
    torch.alpha_dropout: AlphaDropout,
    F.feature_alpha_dropout: FeatureAlphaDropout,
    torch.feature_alpha_dropout: FeatureAlphaDropout,
    ATTENTION: AttentionDropout,
    attention: AttentionDropout,
}
METHODS: dict[str, type[Site]] = {kind.__name__: kind for kind in (AttentionDropout, DropKey, DropAttention, DropHead)}
OF_SITE = ("p", "training", "method", "generator", "enable_gqa", "dropout_p")  # what a site has by itself
OFF = {F.alpha_dropout, F.feature_alpha_dropout}  # their default is training=False


def equivalent(old: nn.Module) -> nn.Module | None:
    """Returns the module of thinnet for one of PyTorch, with the same settings; None if none exists or none is needed."""
    for theirs, site in MODULES.items():
        if same_forward(old, theirs):
            return site(old.p, inplace=old.inplace)  # type: ignore[call-arg]
    if type(old) is nn.MultiheadAttention and old.dropout > 0:
        return _attention(old)
    return None


def same_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Returns whether a module is of a class, or of a subclass that computes the same."""
    return isinstance(module, kind) and type(module).forward is kind.forward and "forward" not in vars(module)


def _attention(old: nn.MultiheadAttention) -> nn.Module:
    sizes = old.embed_dim, old.num_heads, old.dropout
    new = MultiheadAttention(*sizes, add_zero_attn=old.add_zero_attn, batch_first=old.batch_first, device="meta")
    new.kdim, new.vdim = old.kdim, old.vdim
    for name in (*old._parameters, "bias_k", "bias_v"):
        new.register_parameter(name, getattr(old, name))
    new.out_proj = old.out_proj
    return new


@dataclass(frozen=True)
class Call:
    """One call of a dropout function.

    Args:
        function: of PyTorch, or `thinnet.functional.attention`.
        given: its arguments by name.
    """

    function: Callable[..., Any]
    given: Any

    @property
    def p(self) -> float:
        """The rate that the call asks for; 0 where it asks for evaluation."""
        if self.function is ATTENTION:
            return self.given.get("dropout_p", 0.0)
        return self.given.get("p", 0.5) if self.given.get("training", self.function not in OFF) else 0.0

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.function.__name__

    @property
    def kind(self) -> type[Site]:
        """The class of sites that do the same."""
        return METHODS[self.given.get("method", "AttentionDropout")] if self.function is attention else FUNCTIONS[self.function]

    def site(self) -> Site:
        """Returns a new site that does the same."""
        inplace = self.function is torch.dropout_ or bool(self.given.get("inplace", False))
        return self.kind(self.p) if self.function in (ATTENTION, attention) else self.kind(self.p, inplace=inplace)  # type: ignore[call-arg]

    def without(self) -> Tensor:
        """Returns the result of the call without its dropout."""
        if self.function is attention:
            return attention(**self.given | {"training": False})
        return ATTENTION(**self.given | {"dropout_p": 0.0}) if self.function is ATTENTION else self.given["input"]

    def through(self, site: Site) -> Tensor:
        """Returns the result of the call with the mask, the rate and the mode of a site."""
        if self.function not in (ATTENTION, attention):
            return site(self.given["input"])
        given: dict[str, Any] = {OURS.get(name) or name: value for name, value in self.given.items() if name not in OF_SITE}
        q, k, v = (given.pop(name) for name in ("q", "k", "v"))
        kept = torch.compiler.is_compiling() or capturing(q.device)  # captured code must not depend on the current rate
        if not site.training or (site.p == 0 and not kept):
            return self.without()
        return site(q, k, v, **given) if isinstance(site, WeightsSite) else site(self.without())


def call_of(function: Callable[..., Any], args: Any, kwargs: Any) -> Call:
    """Returns the call of a dropout function, its arguments by name."""
    if function is attention:
        return Call(function, kwargs)
    names = QUERY if function is ATTENTION else INPUT if function.__module__ == F.__name__ else ("input", "p", "training")
    given = dict(zip(names, args, strict=False)) | kwargs
    return Call(function, {"p" if name == "train" else name: value for name, value in given.items()})
