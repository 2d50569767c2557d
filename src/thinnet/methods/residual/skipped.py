"""Skipping a layer: the decision on the host, and zeros for the layer's gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.ops.dtensor import is_sharded
from thinnet.ops.schema import transformed
from thinnet.rng import Site
from thinnet.rng import context as contexts
from thinnet.rng.fake import is_faking
from thinnet.rng.mapped import is_mapped


def selecting(x: Tensor) -> bool:
    """Returns whether everything is computed and then selected.

    Compiled and captured code runs the same work each time, the transforms of `torch.func` may run several masks at once, and
    fake tensors have no masks to read.
    """
    return torch.compiler.is_compiling() or contexts.capturing(x.device) or transformed() or is_faking()


def like(x: Any, y: Any) -> Any:
    """Returns the output `y` of a layer in the dtype of its input, as autocast may change it: no dtype depends on a mask."""
    return y.to(x.dtype) if isinstance(x, Tensor) and isinstance(y, Tensor) else y


def decide(site: Site, count: int) -> list[bool]:
    """Returns which of the `count` parts of a site run in this forward pass; all of them in eval.

    The samples of a batch share the decision. All ranks share it if masks are addressed. They also do if the parameters are
    sharded, because ranks that run different layers would deadlock: then the first rank's seed is broadcast. Ranks with whole
    copies decide independently, which `tied` makes safe, and so train more sub-networks together.
    """
    mesh = _mesh(site)
    ones = torch.ones(count, device="cpu" if mesh is None else mesh.device_type)
    key = site.key(ones, batch=None)
    if key is None:
        return [True] * count
    if mesh is None:
        mask = key.mask((count,))
        if is_mapped(mask):
            rule = "the host must read one mask; got one for each index of torch.vmap"
            raise RuntimeError(f"{key.function}: {rule}. Call the stack as a module, or use randomness='same'.")
        return mask.tolist()
    from torch.distributed.tensor import DTensor, Replicate  # slow to import

    same = DTensor.from_local(ones, mesh, [Replicate()] * mesh.ndim, run_check=False)
    return (key.apply_noise(same).to_local() != 0).tolist()  # type: ignore[attr-defined]


def _mesh(site: Site) -> Any:
    """Returns the ranks that share the sharded parameters of an unaddressed site; None if no ranks have to agree."""
    if site.context is not None or not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return next((p.device_mesh for p in site.parameters() if is_sharded(p)), None)  # type: ignore[attr-defined]


class _Tied(torch.autograd.Function):
    """The identity; backward gives each parameter a gradient of zeros that uses no memory."""

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
    """Returns a copy of `x` whose graph contains the parameters of a skipped layer, so that their gradients are zero.

    `DistributedDataParallel` waits for a gradient of every parameter; this gives it one without `find_unused_parameters`. An
    optimiser sees zeros, as if the layer ran and its output was dropped. So training is the same in one process and in many,
    compiled and eager. It is a copy because the output of a layer does not alias its input either.

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
