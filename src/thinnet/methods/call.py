"""What the stateless form of every method does: check, draw one seed, toss."""

import torch
from torch import Tensor

from thinnet import ops, rates
from thinnet.ops import Rule
from thinnet.ops.schema import traced
from thinnet.site import draw_seed


def call(
    function: str,
    x: Tensor,
    p: float | Tensor,
    training: bool,
    inplace: bool,
    generator: torch.Generator | None,
    *,
    shared: tuple[int, ...] = (),
    rule: Rule = Rule.INVERTED,
    below_one: bool = False,
) -> Tensor:
    """Returns the toss of `x` with one fresh seed, or `x` itself where `training` is False or the rate is 0."""
    if isinstance(p, Tensor) and (traced() or p.device.type != "cpu"):
        rate = _rate_on_device(function, p, x.device)
    else:
        value = rates.check(function, p, below_one=below_one)
        if training and value == 0:
            return x
        rate = rates.tensor(value, x.device)
    if not training:
        return x
    seed = draw_seed(x.device, generator)
    return ops.toss(x, rate, seed, shared=shared, rule=rule, inplace=inplace, function=function)


def _rate_on_device(function: str, p: Tensor, device: torch.device) -> Tensor:
    """Returns a rate that only the device knows, without waiting for it: clamped to [0, 1], since it cannot be refused."""
    if p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; a toss has no derivative in its rate. Pass p.detach().")
    return (p.to(device).double() * rates.RESOLUTION).round().clamp(0, rates.RESOLUTION).to(torch.int32).reshape(())
