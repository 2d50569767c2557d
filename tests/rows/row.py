"""What the invariant tests need to know about a method beyond its facts."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thinnet.methods.facts import Facts, Method
from thinnet.methods.registry import REGISTRY

METHODS = {method.name: method for method in REGISTRY}

RATES_OUTSIDE = (-0.1, 1.5, float("nan"), True, "0.5", 40)


class Called(nn.Module):
    """A module from a tensor to a tensor around another one, or around a functional form at rate `p`.

    Args:
        call: what it computes from `(inner, x)`; a functional form gets `training=` as its third argument.
        inner: a module, or None.
    """

    def __init__(self, call: Callable[..., Tensor], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.call, self.inner = call, inner

    def forward(self, x: Tensor) -> Tensor:
        return self.call(x, self.training) if self.inner is None else self.call(self.inner, x)


class Paper(NamedTuple):
    """The method as its paper states it, at the parameters of a module.

    Args:
        output: from an input to the output.
        parameters: a scalar for each rate parameter of the module, all of whose elements are equal.
    """

    output: Callable[[Tensor], Tensor]
    parameters: Mapping[Tensor, Tensor]


@dataclass(frozen=True)
class Row:
    """A method with the shapes, rates and settings that it is tested with.

    Args:
        method: its entry in the registry.
        shapes: of inputs, batch first.
        settings: the method's other arguments, which its class, function and facts all take by name.
        rates: inside its domain.
        edges: the ends of its domain.
        outside: values that are not valid rates.
        build: makes the module for a rate; by default its class with the rate and the settings.
        learned: the name of a learned parameter, and the rate as a function of it.
        inputs: makes an input of a shape.
        kept: the bytes that may be kept for backward besides input and output.
        state: the keys of its `state_dict`.
        resized: whether the output has another shape than the input.
        derivative: whether backward computes the derivative of forward.
        twice: whether it can be differentiated twice.
        compiles: whether one compiled graph serves all rates and steps.
        rounded: whether a low-precision output is the float32 output, rounded once. Layers also round inside.
    """

    method: Method
    shapes: tuple[tuple[int, ...], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    rates: tuple[float, ...] = (0.1, 0.5, 0.85)
    edges: tuple[float, ...] = (0.0, 1.0)
    outside: tuple[object, ...] = RATES_OUTSIDE
    build: Callable[[float], nn.Module] | None = None
    learned: tuple[str, Callable[[Tensor], Tensor]] | None = None
    inputs: Callable[[tuple[int, ...]], Tensor] = torch.randn
    kept: int = 64
    state: tuple[str, ...] = ()
    resized: bool = False
    derivative: bool = True
    twice: bool = True
    compiles: bool = True
    rounded: bool = True

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.method.name

    @property
    def facts(self) -> Facts:
        """What the method states."""
        return self.method.facts

    @property
    def small_and_large(self) -> tuple[float, float]:
        """A small and a large rate: 0.1 and 0.9, or those that the method can start to learn from."""
        return (0.1, 0.9) if self.edges else (min(self.rates), max(self.rates))

    def module(self, p: float) -> nn.Module:
        """The module at a rate."""
        if self.build is not None:
            return self.build(p)
        assert self.method.module is not None
        return self.method.module(p=p, **copy.deepcopy(dict(self.settings)))

    def function(self, x: Tensor, p: object, **options: Any) -> Tensor:
        """The functional form."""
        assert self.method.function is not None
        return self.method.function(x, p, **copy.deepcopy(dict(self.settings)), **options)

    def in_eval(self, x: Tensor, p: float) -> Tensor:
        """What the method states for eval."""
        return x if self.facts.in_eval is None else self.facts.in_eval(x, p, **self.settings)

    def noise_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The noise shape of an input."""
        return self.facts.noise_shape(shape, **self.settings)

    def paper(self, module: nn.Module, p: float, noise: Tensor) -> Paper:
        """The definition with the layers, weights and learned rates of a module, so that both have the same parameters."""
        attributes = {"branch": "layer"}
        shared = {
            name: getattr(module, attributes.get(name, name), old)
            for name, old in self.settings.items()
            if isinstance(old, (nn.Module, Tensor))
        }
        rate: float | Tensor = p
        parameters = {}
        if self.learned is not None:
            name, rate_of = self.learned
            value = module.get_parameter(name)
            parameters[value] = value.detach().flatten()[0].clone().requires_grad_()
            rate = rate_of(parameters[value])
        definition = self.facts.definition
        assert definition is not None
        return Paper(lambda x: definition(x, noise, rate, **{**self.settings, **shared}), parameters)
