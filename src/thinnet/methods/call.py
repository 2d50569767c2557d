"""What the stateless form of every method does: check, draw one seed, toss."""

import torch
from torch import Tensor

from thinnet.ops import NoiseKind
from thinnet.rng import NoiseKey, rates
from thinnet.rng.context import draw_seed


def call(
    function: str,
    x: Tensor,
    p: float | Tensor,
    training: bool,
    inplace: bool,
    generator: torch.Generator | None,
    *,
    shared_axes: tuple[int, ...] = (),
    kind: NoiseKind = NoiseKind.INVERTED,
    below_one: bool = False,
) -> Tensor:
    """Returns the toss of `x` with one fresh seed, or `x` itself where `training` is False or the rate is 0."""
    key = draw_key(function, x, p, training, generator, below_one=below_one)
    return x if key is None else key.apply_noise(x, shared_axes, kind, inplace)


def draw_key(
    function: str,
    x: Tensor,
    p: float | Tensor,
    training: bool,
    generator: torch.Generator | None,
    *,
    below_one: bool = False,
) -> NoiseKey | None:
    """Returns the key of one call with a fresh seed; None where nothing is tossed: `training` is False, or the rate is 0."""
    if torch.compiler.is_compiling() or (isinstance(p, Tensor) and p.device.type != "cpu"):
        rate = _rate_on_device(function, p, x.device)
    else:
        value = rates.check(function, p, below_one=below_one)
        if training and value == 0:
            return None
        rate = rates.tensor(value, x.device)
    if not training:
        return None
    return NoiseKey(function, rate, draw_seed(x.device, generator))


def _rate_on_device(function: str, p: float | Tensor, device: torch.device) -> Tensor:
    """Returns a rate that compiled code or the device alone knows, without waiting for it: clamped, as it cannot be refused."""
    if not isinstance(p, Tensor):
        p = torch.ones((), dtype=torch.float64, device=device) * p  # the one form that keeps a changing float out of the code
    elif p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; a toss has no derivative in its rate. Pass p.detach().")
    return (p.to(device).double() * rates.RESOLUTION).round().clamp(0, rates.RESOLUTION).to(torch.int32).reshape(())
