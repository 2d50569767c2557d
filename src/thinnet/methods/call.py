"""Shared by the functional forms: checks the rate, draws a seed and applies noise."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.compiler import is_compiling

from thinnet import ops
from thinnet.ops import NoiseKind
from thinnet.rng import NoiseKey, rates
from thinnet.rng.context import HIGH, LOW, draw_seed


def no_tensor(function: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Records a call of a symbolic trace, as `torch.fx` does for functions of PyTorch; refuses what is no tensor.

    Args:
        function: the functional form.
        given: its arguments by name, of which the first is no tensor.
    """
    name, x = next(iter(given.items()))
    proxies = [value for value in given.values() if isinstance(value, fx.Proxy)]
    if not proxies:
        kind = type(x).__name__
        raise TypeError(f"{function.__name__}: {name} must be a tensor; got {kind}. Pass torch.as_tensor({name}).")
    options = {each: value for each, value in not_default(function, given).items() if each != name}
    return proxies[0].tracer.create_proxy("call_function", function, (x,), options)


def not_default(function: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of a function without those that are the default."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}
    return {name: value for name, value in given.items() if value is not defaults[name]}


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
    """Applies noise to `x` with a fresh seed; returns `x` itself where `training` is False or the rate is 0."""
    key = draw_key(function, x, p, training, generator, below_one=below_one)
    if key is None:
        return x
    return ops.apply_noise(x, key.rate, key.seed, shared_axes=shared_axes, kind=kind, inplace=inplace, function=function)


def draw_key(
    function: str,
    x: Tensor,
    p: float | Tensor,
    training: bool,
    generator: torch.Generator | None,
    *,
    below_one: bool = False,
) -> NoiseKey | None:
    """Returns the key of one call with a fresh seed; None where `training` is False or the rate is 0."""
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"{function}: generator must be a torch.Generator; got {type(generator).__name__}. Try torch.Generator()."
        )
    compiling = is_compiling()
    if compiling or (type(p) is not float and isinstance(p, Tensor) and p.device.type != "cpu"):
        rate = rate_on_device(function, p, x.device)
    else:
        value = rates.check(function, p, below_one=below_one)
        if training and value == 0:
            return None
        rate = rates.tensor(value, x.device)
    if not training:
        return None
    if compiling or generator is not None:
        return NoiseKey(function, rate, draw_seed(x.device, generator))
    return NoiseKey(function, rate, torch.randint(LOW, HIGH, (), device=x.device))


def rate_on_device(function: str, p: float | Tensor, device: torch.device) -> Tensor:
    """Returns a rate that only compiled code or the device knows. It is clamped, as it cannot be refused without waiting."""
    if not isinstance(p, Tensor):
        p = torch.ones((), dtype=torch.float64, device=device) * p  # keeps a changing float out of the code
    elif p.requires_grad:
        raise TypeError(f"{function}: p must not require grad; dropout has no derivative in its rate. Pass p.detach().")
    return rates.counted(p.to(device)).reshape(())
