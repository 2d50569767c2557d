"""Checks a thinning: with the same masks, the thinned and the masked network must agree, forward and backward."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import preserve_state
from thinnet.models.thin.piece import Piece
from thinnet.rng import DropoutRNG

ROOM, FLOOR = 8, 1e-3  # tolerance of sums in another order: ROOM sqrt(eps), relative to at least FLOOR times the largest


def differences(
    model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], seed: int, function: str = "thin"
) -> dict[str, str]:
    """Returns, by place, the pieces that change what the network computes, and how they differ."""
    masked = _run(model, call, pieces, (), seed)
    if isinstance(masked, str):
        raise RuntimeError(f"{function}: model must run in training mode with its example; {masked}")
    together = _differs(masked, _run(model, call, pieces, pieces, seed))
    if not together:
        return {}
    alone = {piece.place: _differs(masked, _run(model, call, pieces, (piece,), seed)) for piece in pieces}
    wrong = {place: difference for place, difference in alone.items() if difference}
    return wrong or dict.fromkeys(alone, together)


def _run(
    model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], on: Sequence[Piece], seed: int
) -> list[Tensor] | str:
    """Returns the outputs and gradients of the model, or the error that it raises."""
    before = [piece.switch.on for piece in pieces]
    for piece in pieces:
        piece.switch.on = piece in on
    rng = DropoutRNG(seed).bind(model)
    try:
        with preserve_state(model, seed), torch.enable_grad():
            model.train()
            rng.at(0)
            outs = [leaf for leaf in tree_leaves(call()) if isinstance(leaf, Tensor)]
            smooth = [leaf for leaf in outs if leaf.requires_grad]
            gradients = _gradients(model, smooth) if smooth else []
            return [leaf.detach().clone() for leaf in (*outs, *gradients)]
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    finally:
        rng.unbind()
        for piece, state in zip(pieces, before, strict=True):
            piece.switch.on = state


def _gradients(model: nn.Module, outs: Sequence[Tensor]) -> list[Tensor]:
    """Returns the gradient of each parameter, or an empty tensor. It does not fire gradient hooks."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    weights = [_weights(leaf) for leaf in outs]
    try:
        found = torch.autograd.grad(outs, parameters, weights, allow_unused=True, retain_graph=True)  # for a second try
    except RuntimeError as error:
        if "use_reentrant" not in str(error) and ".grad()" not in str(error):
            raise
        model.zero_grad()  # a reentrant checkpoint only supports backward()
        torch.autograd.backward(outs, weights)
        found = [parameter.grad for parameter in parameters]
    return [weights[0].new_empty(0) if gradient is None else gradient for gradient in found]


def _weights(leaf: Tensor) -> Tensor:
    """Returns weights that are different for each output, so that a permutation shows."""
    return torch.linspace(-1, 1, leaf.numel(), device=leaf.device).reshape(leaf.shape).to(leaf.dtype)


def _differs(masked: list[Tensor], thinned: list[Tensor] | str) -> str:
    if isinstance(thinned, str):
        return thinned
    if [leaf.shape for leaf in masked] != [leaf.shape for leaf in thinned]:
        return "its outputs or gradients have other shapes than those of the masked network"
    largest = max((float(one.abs().max()) for one in masked if one.is_floating_point() and one.numel()), default=0.0)
    for one, other in zip(masked, thinned, strict=True):
        if one.is_floating_point() and one.numel():
            size = max(float(one.abs().max()), FLOOR * largest)  # a gradient may be rounding only
            off = float((one - other).abs().max())
            if not off <= ROOM * torch.finfo(one.dtype).eps ** 0.5 * size:
                return f"it differs from the masked network by {off:.2g}, of {size:.2g}"
    return ""
