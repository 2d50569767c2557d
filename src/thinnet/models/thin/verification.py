"""Checks a thinning: with the same masks, the thinned and the masked network must agree, forward and backward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import preserve_state
from thinnet.models.thin.piece import Piece
from thinnet.rng import DropoutRNG

ROOM, FLOOR = 8, 1e-3  # tolerance of sums in another order: ROOM sqrt(eps), relative to at least FLOOR times the largest
MOVES = (0.0, 0.01, 0.02)  # relative changes of the parameters, each with a comparison


@dataclass(frozen=True)
class Ran:
    """The outputs of one training pass, and the gradients of the parameters."""

    outputs: list[Tensor]
    gradients: list[Tensor]


def differences(
    model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], seed: int, function: str = "thin"
) -> dict[str, str]:
    """Returns, by place, the pieces that change what the network computes, and how they differ.

    Rounding alone may flip a ReLU whose input is close to zero, and the gradient with it. So what differs is compared again
    with the same masks and other parameters: a piece is wrong only if it differs each time.
    """
    wrong: dict[str, str] = {}
    for move in MOVES:
        found = _differences(model, call, pieces, seed, function, move)
        wrong = {place: why for place, why in found.items() if place in wrong or not move}
        if not wrong:
            break
    return wrong


def _differences(
    model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], seed: int, function: str, move: float
) -> dict[str, str]:
    masked = _run(model, call, pieces, (), seed, move)
    if isinstance(masked, str):
        raise RuntimeError(f"{function}: model must run in training mode with its example; {masked}")
    together = _differs(masked, _run(model, call, pieces, pieces, seed, move))
    if not together:
        return {}
    alone = {piece.place: _differs(masked, _run(model, call, pieces, (piece,), seed, move)) for piece in pieces}
    wrong = {place: difference for place, difference in alone.items() if difference}
    return wrong or dict.fromkeys(alone, together)


def _run(
    model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], on: Sequence[Piece], seed: int, move: float
) -> Ran | str:
    """Returns the outputs and gradients of the model, its parameters moved, or the error that it raises."""
    before = [piece.switch.on for piece in pieces]
    for piece in pieces:
        piece.switch.on = piece in on
    rng = DropoutRNG(seed).bind(model)
    try:
        with preserve_state(model, seed), torch.enable_grad():
            model.train()
            _move(model, move)
            rng.at(0)
            outs = [leaf for leaf in tree_leaves(call()) if isinstance(leaf, Tensor)]
            smooth = [leaf for leaf in outs if leaf.requires_grad]
            gradients = _gradients(model, smooth) if smooth else []
            return Ran([leaf.detach().clone() for leaf in outs], [leaf.detach().clone() for leaf in gradients])
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    finally:
        rng.unbind()
        for piece, state in zip(pieces, before, strict=True):
            piece.switch.on = state


def _move(model: nn.Module, by: float) -> None:
    """Changes each number of the trained parameters by about a share of itself."""
    with torch.no_grad():
        for parameter in model.parameters() if by else ():
            if parameter.requires_grad:
                parameter.mul_(1 + by * torch.randn_like(parameter))


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


def _differs(masked: Ran, thinned: Ran | str) -> str:
    """Returns how two passes differ: outputs by the largest number, gradients by their norm, as few flips hardly change it."""
    if isinstance(thinned, str):
        return thinned
    if _shapes(masked) != _shapes(thinned):
        return "its outputs or gradients have other shapes than those of the masked network"
    outputs = _apart(masked.outputs, thinned.outputs, lambda x: float(x.abs().max()))
    return outputs or _apart(masked.gradients, thinned.gradients, lambda x: float(x.norm()))


def _shapes(ran: Ran) -> list[torch.Size]:
    return [leaf.shape for leaf in (*ran.outputs, *ran.gradients)]


def _apart(masked: list[Tensor], thinned: list[Tensor], size_of: Callable[[Tensor], float]) -> str:
    pairs = [pair for pair in zip(masked, thinned, strict=True) if pair[0].is_floating_point() and pair[0].numel()]
    sizes = [size_of(one) for one, _ in pairs]
    for (one, other), own in zip(pairs, sizes, strict=True):
        size, off = max(own, FLOOR * max(sizes)), size_of(one - other)  # a gradient may be rounding only
        if not off <= ROOM * torch.finfo(one.dtype).eps ** 0.5 * size:
            return f"it differs from the masked network by {off:.2g}, of {size:.2g}"
    return ""
