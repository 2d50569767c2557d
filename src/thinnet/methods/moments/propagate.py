"""Moment propagation: mean and variance of a network's output over all its masks, in one pass."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.elementwise.gaussian_dropout import GaussianDropout
from thinnet.methods.elementwise.uniform_dropout import UniformDropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments
from thinnet.methods.weights.affine import AFFINE
from thinnet.rng import Site

Rule = Callable[[Any, Moments], Moments]

FACTS = Facts()


def _dropout(module: Any, m: Moments) -> Moments:
    if getattr(module, "structured", False):
        raise TypeError(
            f"propagate: dropout must have one rate and independent elements; got {module}. Pass a rule of your own."
        )
    return moments.dropout(m, module.p)


def _batch_norm(module: Any, m: Moments) -> Moments:
    if module.running_mean is None:
        raise ValueError("propagate: a batch normalisation must have running statistics; got track_running_stats=False.")
    shape = 1, -1, *[1] * (m.mean.ndim - 2)
    scale = (module.running_var + module.eps).rsqrt() * (1 if module.weight is None else module.weight)
    shift = (0 if module.bias is None else module.bias) - module.running_mean * scale
    return Moments(m.mean * scale.view(shape) + shift.view(shape), m.variance * scale.square().view(shape))


def _average(module: Any, m: Moments) -> Moments:
    kernel, flat = module.kernel_size, 2 if isinstance(module, nn.AvgPool2d) else 3
    padded = any(module.padding) if isinstance(module.padding, tuple) else module.padding
    if padded or module.ceil_mode or getattr(module, "divisor_override", None):
        raise ValueError(f"propagate: the windows of a pooling must have one size; got {module}. Pass a rule of your own.")
    count = math.prod(kernel) if isinstance(kernel, tuple) else kernel**flat
    return Moments(module(m.mean), module(m.variance) / count)


def _adaptive_average(module: nn.Module, m: Moments) -> Moments:
    mean = module(m.mean)
    sizes = list(zip(m.mean.shape[2:], mean.shape[2:], strict=True))
    if any(before % after for before, after in sizes):
        raise ValueError(f"propagate: the windows of a pooling must have one size; got {module}. Pass a rule of your own.")
    return Moments(mean, module(m.variance) / math.prod(before // after for before, after in sizes))


RULES: Mapping[type[nn.Module], Rule] = {
    **dict.fromkeys(AFFINE, lambda module, m: moments.layer(m, module)),
    **dict.fromkeys((nn.Dropout, Dropout, GaussianDropout, UniformDropout), _dropout),
    **dict.fromkeys((nn.Flatten, nn.Unflatten, nn.Identity), lambda module, m: m.map(module)),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _batch_norm),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _average),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_average),
    **dict.fromkeys((nn.Tanh, nn.GELU, nn.SiLU, nn.Softplus), lambda module, m: moments.smooth(m, module)),
    nn.ReLU: lambda module, m: moments.relu(m),
    nn.Sigmoid: lambda module, m: moments.sigmoid(m),
    nn.Softmax: lambda module, m: moments.softmax(m, -1 if module.dim is None else module.dim),
}


def propagate(model: nn.Module, x: Tensor | Moments, *, rules: Mapping[type[nn.Module], Rule] | None = None) -> Moments:
    """Returns mean and variance of the output of `model` over all masks of its dropout, in one pass, in either mode.

        (E, Var) of each layer's output from (E, Var) of its input

    Units are taken as independent, and as nearly Gaussian before an activation. The result is exact through one dropout and one
    linear layer; each hidden layer behind it adds an error, as its units have inputs in common. Batch normalisation uses its
    running statistics.

    Noise shape: no noise: all masks at once.
    Use when: prediction with uncertainty, where the passes of Monte Carlo dropout take too long.
    Avoid when: networks with attention, recurrence or spatial dropout, whose units are far from independent.
    Start with: the rates that the network was trained with.
    Cost: two matrix products per layer: about two passes, where Monte Carlo dropout takes tens.
    Other implementations: kaibrach/Moment-Propagation, for TensorFlow; not in PyTorch.

    Args:
        model: a layer, or an `nn.Sequential` of layers, at any depth.
        x: the input, or its moments.
        rules: rules for further classes: functions of the module and the `Moments` of its input that return those of its
            output.
            A class may instead have a method `moments(m)`.

    Returns: `Moments(mean, variance)` of the output; gradients flow through it.

    Raises:
        TypeError: the model has a layer without a rule; the error names it.
        ValueError: a pooling has windows of several sizes, or a batch normalisation has no running statistics.

    Source: Brach, Sick, Duerr 2020, arXiv:2007.03293; Wang and Manning 2013, ICML.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    >>> mean, variance = propagate(model, torch.randn(3, 4))
    >>> mean.shape, bool((variance > 0).all())
    (torch.Size([3, 2]), True)
    """
    m = x if isinstance(x, Moments) else Moments.of(x)
    return _through(model, m, {**RULES, **(rules or {})}, "model")


def _through(module: nn.Module, m: Moments, rules: Mapping[type[nn.Module], Rule], path: str) -> Moments:
    if isinstance(module, Site) and hasattr(type(module), "moments"):
        return module.moments(m)  # type: ignore[operator]
    for kind in type(module).__mro__:  # a subclass that computes something else has no rule
        if kind in rules and type(module).forward is kind.forward:  # type: ignore[attr-defined]
            return rules[kind](module, m)
    if type(module).forward is not nn.Sequential.forward:
        name = type(module).__name__
        raise TypeError(f"propagate: {path} is of class {name}, which has no rule. Pass rules={{{name}: your_rule}}.")
    for name, part in module.named_children():
        m = _through(part, m, rules, f"{path}.{name}")
    return m


METHODS = (Method(FACTS, None, propagate, title="Moment propagation"),)
