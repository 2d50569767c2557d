"""What a method needs that does not run a dropped layer: a decision on the host, and zeros for the layer's gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.ops.dtensor import is_sharded
from thinnet.rng import Site
from thinnet.rng import context as contexts


def selecting(x: Tensor) -> bool:
    """Returns whether everything has to be computed and then selected: what is compiled or captured runs the same each time."""
    return torch.compiler.is_compiling() or contexts.capturing(x.device)


def decide(site: Site, count: int) -> list[bool]:
    """Returns which of the `count` parts of a site run in this forward pass, one coin each; all of them in eval.

    The samples of a batch share the coins. So do all ranks where the coins have names, and where the parameters are sharded,
    as ranks that run other layers would wait for each other for ever: without names the first rank's seed is broadcast then.
    Ranks that hold whole copies decide each for itself: `tied` makes this safe, and they see more thinned networks together.
    """
    mesh = _mesh(site)
    ones = torch.ones(count, device="cpu" if mesh is None else mesh.device_type)
    key = site.key(ones, batch=None)
    if key is None:
        return [True] * count
    if mesh is None:
        return key.mask((count,)).tolist()
    from torch.distributed.tensor import DTensor, Replicate  # loaded where something is sharded

    same = DTensor.from_local(ones, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return (key.apply_noise(same).to_local() != 0).tolist()  # type: ignore[attr-defined]


def _mesh(site: Site) -> Any:
    """Returns the ranks that share the parameters of a site whose coins have no name; None where nobody has to agree."""
    if site.context is not None or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return next((p.device_mesh for p in site.parameters() if is_sharded(p)), None)  # type: ignore[attr-defined]


class _Tied(torch.autograd.Function):
    """The identity; in backward each parameter gets a gradient of zeros that takes no memory of its own."""

    @staticmethod
    def forward(x: Tensor, *parameters: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.parameters = inputs[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return gradients[0], *(_zeros(parameter) for parameter in ctx.parameters)


def _zeros(parameter: Tensor) -> Tensor:
    if is_sharded(parameter):
        return torch.zeros_like(parameter)
    return parameter.new_zeros(()).expand_as(parameter)


def tied(x: Tensor, layer: nn.Module) -> Tensor:
    """Returns a copy of `x` that keeps the parameters of a layer that does not run in the graph: their gradients are zero.

    `DistributedDataParallel` waits for a gradient of every parameter; with this it gets one without `find_unused_parameters`.
    An optimiser sees zeros, as it does where the layer runs and its result is dropped, so training is the same in one process
    and in many, compiled and not. It is a copy, as what a layer returns is no alias of its input either.

    >>> layer, x = nn.Linear(2, 2), torch.ones(3, 2)
    >>> tied(x, layer).sum().backward()
    >>> layer.weight.grad
    tensor([[0., 0.],
            [0., 0.]])
    """
    parameters = [parameter for parameter in layer.parameters() if parameter.requires_grad]
    if not parameters or not torch.is_grad_enabled():
        return x.clone()
    return _Tied.apply(x, *parameters)
