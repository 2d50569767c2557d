"""What the laws need to know of a method beyond its facts."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.facts import Facts, Method
from thinnet.methods.registry import REGISTRY

METHODS = {method.name: method for method in REGISTRY}

RATES_OUTSIDE = (-0.1, 1.5, float("nan"), True, "0.5", 40)


@dataclass(frozen=True)
class Row:
    """A method, the shapes it is tried on (batch first), and rates inside and outside its domain.

    Args:
        method: its line of the registry.
        shapes: of inputs.
        settings: the method's other arguments, which its module, its function and its facts all take by name.
        rates: inside of its domain.
        edges: the ends of its domain.
        outside: what is no rate of it.
        build: how the module is made for a rate; else by its class, the rate and the settings.
        inputs: how an input of a shape is made.
        kept: the bytes that may be kept for backward beside input and output.
        state: the keys that it has in a checkpoint.
        resized: whether the output has another shape than the input.
        derivative: whether what goes backward is the derivative of what went forward.
        twice: whether it can be differentiated twice.
        compiles: whether it is one graph for all rates and steps.
    """

    method: Method
    shapes: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = (0.1, 0.5, 0.85)
    edges: tuple[float, ...] = (0.0, 1.0)
    outside: tuple[object, ...] = RATES_OUTSIDE
    build: Callable[[float], nn.Module] | None = None
    inputs: Callable[[tuple[int, ...]], Tensor] = torch.randn
    kept: int = 64
    state: tuple[str, ...] = ()
    resized: bool = False
    derivative: bool = True
    twice: bool = True
    compiles: bool = True

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.method.name

    @property
    def facts(self) -> Facts:
        """What the method declares."""
        return self.method.facts

    def module(self, p: float) -> nn.Module:
        """The module at a rate."""
        if self.build is not None:
            return self.build(p)
        assert self.method.module is not None
        return self.method.module(p=p, **copy.deepcopy(dict(self.settings)))

    def function(self, x: Tensor, p: object, **options: Any) -> Tensor:
        """The stateless form."""
        assert self.method.function is not None
        return self.method.function(x, p, **copy.deepcopy(dict(self.settings)), **options)

    def in_eval(self, x: Tensor, p: float) -> Tensor:
        """What the method declares to be in eval."""
        return x if self.facts.in_eval is None else self.facts.in_eval(x, p, **self.settings)

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the coins of an input."""
        return self.facts.noise_shape(shape, **self.settings)
