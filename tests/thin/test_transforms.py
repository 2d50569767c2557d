"""Thinning where others read gradients: hooks, transforms of `torch.func`, dynamic shapes, and weights of other classes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

import thinnet

X = torch.randn(16, 32, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))
        self.path = thinnet.nn.DropPath(0.4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.path(self.branch(x))


def units(count: Any = "fixed") -> nn.Module:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(64, 5))
    thinnet.thin(model, X, count=count, always=True)
    return model


def branch() -> nn.Module:
    model = nn.Sequential(Block(), nn.Linear(32, 5))
    thinnet.thin(model, X, always=True)
    return model


def tokens() -> nn.Module:
    model = nn.Sequential(
        nn.Unflatten(1, (4, 8)), thinnet.nn.TokenDropout(0.5), nn.Linear(8, 8), nn.Flatten(), nn.Linear(32, 5)
    )
    thinnet.thin(model, X, always=True)
    return model


MODELS = {"units": units, "independent units": lambda: units("bernoulli"), "branch": branch, "tokens": tokens}


def per_sample_by_hooks(model: nn.Module) -> dict[nn.Module, Tensor]:
    """Returns the gradient of each sample for each weight, from hooks, as Opacus computes it."""
    inputs: dict[nn.Module, Tensor] = {}
    found: dict[nn.Module, Tensor] = {}

    def left(layer: nn.Module, gradient_in: Any, gradient_out: Any) -> None:
        found[layer] = torch.einsum("n...o,n...i->noi", gradient_out[0], inputs[layer])

    for layer in [module for module in model.modules() if isinstance(module, nn.Linear)]:
        layer.register_forward_hook(lambda layer, args, out: inputs.__setitem__(layer, args[0].detach()))
        layer.register_full_backward_hook(left)
    model(X.clone().requires_grad_()).square().sum().backward()
    return found


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_backward_hooks_see_every_sample_and_unit(make: Callable[[], nn.Module]) -> None:
    model = make().train()
    found = per_sample_by_hooks(model)
    assert found
    for layer, each in found.items():
        assert each.shape == (len(X), *layer.weight.shape)
        torch.testing.assert_close(each.sum(0), layer.weight.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_gradients_of_each_sample_are_those_of_the_sample_alone(make: Callable[[], nn.Module]) -> None:
    model = make().train()
    rng = thinnet.DropoutRNG(0).bind(model)
    rng.at(1, torch.zeros(1, dtype=torch.int64))
    parameters = dict(model.named_parameters())
    loss = lambda parameters, x: functional_call(model, parameters, (x,)).square().sum()  # noqa: E731
    each = vmap(grad(lambda parameters, x: loss(parameters, x[None])), (None, 0))(parameters, X)
    for name, gradient in each.items():
        alone = torch.stack([grad(loss)(parameters, x[None])[name] for x in X])
        torch.testing.assert_close(gradient, alone, rtol=1e-4, atol=1e-5)
    assert all(gradient.any() for gradient in each.values())


@pytest.mark.parametrize("make", [units, lambda: units("bernoulli"), branch], ids=["units", "independent units", "branch"])
def test_dynamic_shapes_compile_to_one_graph(make: Callable[[], nn.Module]) -> None:
    torch.compiler.reset()
    model = make().train()
    compiled = torch.compile(model, dynamic=True, fullgraph=True, backend="aot_eager")
    for size in (16, 10, 12):
        assert compiled(X[:size]).shape == (size, 5)
    compiled(X).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


class Wrapped(Tensor):
    """A weight of another class, as quantised weights are."""


def test_a_weight_of_another_class_is_left_alone() -> None:
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(64, 5))
    model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Wrapped))
    thinning = thinnet.thin(model, X, always=True)
    assert not thinning.thinned and "0 has a weight of class Wrapped" in str(thinning)
    model.train()(X).sum().backward()
    assert type(model[0].weight) is Wrapped
