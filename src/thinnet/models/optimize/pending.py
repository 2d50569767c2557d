"""A tensor that is not computed yet: dropout and its neighbours wait in it for the next operation of their chain.

The operation that the chain expects joins it. Any other one computes the value first, as the separate operations would, so a
forward pass that takes another way than the example stays right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from thinnet.ops import fused
from thinnet.ops.fused import Activation
from thinnet.ops.reference import Where


@dataclass(eq=False)
class Chain:
    """What is known of a value: residual + dropout(activation(x + bias) gate).

    Args:
        x: the input; with `ids`, a table of embeddings.
        ids, bias, gate, residual, activation: as `thinnet.ops.fused` takes them.
        where: says which numbers are dropped; None before the dropout.
        adds: whether a residual is expected.
        norm: whether a normalisation is expected behind the residual.
        made: the value, once it is computed.
        scale: the weight of the normalisation that computed it.
    """

    x: Tensor
    ids: Tensor | None = None
    bias: Tensor | None = None
    gate: Tensor | None = None
    residual: Tensor | None = None
    activation: Activation = Activation.NONE
    where: Where | None = None
    adds: bool = False
    norm: bool = False
    made: Tensor | None = None
    scale: Any = None

    def value(self) -> Tensor:
        """Returns the value, computed once. The inputs are not held from then on."""
        if self.made is None:
            given: Any = dict(ids=self.ids, bias=self.bias, gate=self.gate, residual=self.residual, activation=self.activation)
            bare = self.ids is None and self.where is None and self.activation == Activation.NONE
            with torch.enable_grad():  # whoever asks first: a chain starts where autograd records
                self.made = self.x if bare else fused.fused(self.x, self.where, **given)
            self.x, self.ids, self.bias, self.gate, self.residual = self.made, None, None, None, None
        return self.made

    def pending(self) -> Pending:
        """Returns the tensor that stands for the value."""
        shape = self.x.shape if self.ids is None else (*self.ids.shape, self.x.shape[1])
        held = (self.x, self.bias, self.gate, self.residual)
        smooth = any(each is not None and each.requires_grad for each in held)
        made = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            Pending, shape, dtype=self.x.dtype, device=self.x.device, requires_grad=smooth
        )
        if smooth:
            with torch._C.DisableTorchFunctionSubclass():
                made.register_hook(_refuse_gradient)
        made.chain = self
        return made


def _refuse_gradient(gradient: Tensor) -> None:
    rule = "optimize: what is inside a fused chain must go to functions of PyTorch alone; a torch.autograd.Function got it"
    raise RuntimeError(f"{rule}. Leave the site before it out: thinnet.optimize(model, x, leave=[...]).")


class Pending(Tensor):
    """Stands for the value of a chain."""

    chain: Chain

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Joins a function to the chain that expects it, or runs it on the value."""
        if func in SHAPES:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs or {})
        join = JOINS.get(func)
        if join is not None:
            made = join(*args, **kwargs or {})
            if made is not None:
                return made
        args, kwargs = tree_map(plain, (args, kwargs or {}))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Refuses what does not go through functions of PyTorch."""
        raise RuntimeError(f"optimize: {func} got a value inside a fused chain. Leave the site before it out: leave=[...].")


def plain(value: Any) -> Any:
    """Returns the value of a chain; anything else as it is."""
    return value.chain.value() if type(value) is Pending else value


def waiting(value: Any) -> Chain | None:
    """Returns the chain of a value that is not computed yet."""
    return value.chain if type(value) is Pending and value.chain.made is None else None


def _activated(activation: Activation) -> Callable[..., Pending | None]:
    def join(input: Any, *rest: Any, inplace: bool = False) -> Pending | None:
        chain = waiting(input)
        if chain is None or rest or chain.where is not None or chain.activation or chain.ids is not None:
            return None
        return replace(chain, activation=activation).pending()

    return join


def _gelu(input: Any, *rest: Any, approximate: str = "none") -> Pending | None:
    return _activated(Activation.GELU_TANH if approximate == "tanh" else Activation.GELU)(input, *rest)


def _multiplied(one: Any, other: Any, **rest: Any) -> Pending | None:
    """Joins the gate of SwiGLU."""
    one, other = (one, other) if waiting(one) is not None else (other, one)
    chain, gate = waiting(one), plain(other)
    if chain is None or rest or not isinstance(gate, Tensor) or gate.shape != one.shape or chain.where is not None:
        return None
    fits = chain.activation == Activation.SILU and chain.gate is None and gate.dtype == chain.x.dtype
    return replace(chain, gate=gate).pending() if fits else None


def _added(one: Any, other: Any, **rest: Any) -> Tensor | None:
    """Joins a residual, or the embeddings of the positions."""
    one, other = (one, other) if _adds(waiting(one)) else (other, one)
    chain = waiting(one)
    if chain is None or rest or not _adds(chain):
        return None
    term = plain(other)
    if not isinstance(term, Tensor) or term.dtype != chain.x.dtype:
        return None
    if chain.where is None:
        bias = term[0] if term.ndim == one.ndim and term.shape[0] == 1 else term
        return replace(chain, bias=bias).pending() if bias.shape == one.shape[one.ndim - bias.ndim :] else None
    if term.shape != one.shape:
        return None
    joined = replace(chain, residual=term, adds=False)
    return joined.pending() if joined.norm else joined.value()


def _adds(chain: Chain | None) -> bool:
    """Whether a chain expects an addition: of a residual, or of positions to embeddings."""
    return chain is not None and (chain.adds if chain.where is not None else chain.ids is not None and chain.bias is None)


def _layer_norm(input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor | None:
    return _normalised(input, normalized_shape, weight, bias, eps, False)


def _rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Tensor | None:
    return _normalised(input, normalized_shape, weight, None, eps, True)


def _normalised(input: Any, shape: Any, weight: Any, bias: Any, eps: float | None, rms: bool) -> Tensor | None:
    """Computes the sum and its normalisation. The sum is the value of the chain from then on.

    A checkpoint runs the same normalisation again in backward, and must find the same operations.
    """
    chain: Chain | None = input.chain if type(input) is Pending else None
    if chain is None or chain.residual is None or chain.where is None or tuple(shape) != chain.x.shape[-1:]:
        return None
    alone = not chain.activation and chain.ids is None and chain.bias is None and chain.gate is None
    first, again = chain.made is None and alone, chain.scale is not None and chain.scale is weight
    if not (first or again) or not torch.is_grad_enabled():
        return None
    eps = fused.epsilon(chain.x, eps)
    y, h = fused.fused_norm(chain.x, chain.residual, chain.where, weight=weight, bias=bias, eps=eps, rms=rms)
    if first:
        chain.made, chain.scale = h, weight
    return y


JOINS: dict[Any, Callable[..., Tensor | None]] = {
    **dict.fromkeys((F.relu, torch.relu, Tensor.relu), _activated(Activation.RELU)),
    **dict.fromkeys((F.relu_, torch.relu_), _activated(Activation.RELU)),
    **dict.fromkeys((F.silu,), _activated(Activation.SILU)),
    F.gelu: _gelu,
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__), _multiplied),
    **dict.fromkeys((torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__), _added),
    F.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
}
_PROPERTIES = (
    "shape",
    "dtype",
    "device",
    "ndim",
    "layout",
    "requires_grad",
    "is_cuda",
    "is_nested",
    "is_sparse",
    "is_quantized",
)
SHAPES = frozenset(
    (
        *(getattr(Tensor, name).__get__ for name in _PROPERTIES),
        *(Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_complex, torch.is_floating_point),
    )
)
