"""What one line of a parallel plan, or of a pipeline, tells a model about the samples and the units that a rank has."""

from typing import Any

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor.parallel import ParallelStyle

from thinnet.methods.attention.attend import WeightsSite
from thinnet.methods.elementwise.alpha_dropout import AlphaDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.ops.part import Order, Part
from thinnet.rng import Site, rng_of
from thinnet.rng.sample_ids import KEY

CUT = (Site.drop, Dropout.drop, AlphaDropout.drop)  # noise on the input itself


class DropoutParallel(ParallelStyle):
    """Tells a dropout site which part of its input a rank has, where that is a plain tensor: a style of `parallelize_module`.

    The ranks of the mesh together then have the mask of one process. A DTensor needs no style, because it knows its part.

    Args:
        dim: the axis that the ranks share, each as many elements: -1 after `ColwiseParallel`, 1 for the heads of
            `AttentionDropout` and for parts of a sequence.
        order: "contiguous", or "zigzag" for parts of a sequence as in `ring_attention`.

    Raises: ValueError if `dim` is 0, which counts the samples, or the order is neither; TypeError if the module is no site,
        or has noise of another shape than its input.

    Source: Korthikanti et al. 2022, arXiv:2205.05198 (dropout under tensor and sequence parallelism).

    >>> from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel
    >>> plan = {"up": ColwiseParallel(), "drop": DropoutParallel(-1), "down": RowwiseParallel()}
    """

    def __init__(self, dim: int, *, order: Order = "contiguous") -> None:
        if isinstance(dim, bool) or not isinstance(dim, int) or dim == 0:
            rule = "DropoutParallel: dim must be an axis of units"
            raise ValueError(f"{rule}; got {dim!r}. Axis 0 counts samples: give each rank its ids, rng.at(step, samples=ids).")
        if order not in ("contiguous", "zigzag"):
            raise ValueError(f'DropoutParallel: order must be "contiguous" or "zigzag"; got {order!r}.')
        self.dim = dim
        self.order: Order = order

    def _apply(self, module: nn.Module, device_mesh: DeviceMesh) -> nn.Module:
        if not isinstance(module, Site):
            kind = type(module).__name__
            raise TypeError(f"DropoutParallel: the module must be a dropout site of thinnet; got {kind}. Use thinnet.replace.")
        if type(module).drop not in CUT and not isinstance(module, WeightsSite):
            rule = "DropoutParallel: the noise of the site must have the shape of its input"
            raise TypeError(f"{rule}; got {type(module).__name__}. Take it out of the plan, and gather its input.")
        module.part = Part(self.dim, device_mesh.get_local_rank(), device_mesh.size(), self.order)
        return module


def take_sample_ids(model: nn.Module) -> None:
    """Makes each forward pass of a bound model take its sample ids from the keyword `sample_ids`, as microbatches need.

    A pipeline schedule cuts keyword arguments as it cuts the batch: `schedule.step(x, sample_ids=ids)` gives each stage the ids
    of its microbatch. The model itself does not receive the keyword. A pass without it has the ids of the last `rng.at`.

    Args:
        model: a stage, which `DropoutRNG.bind` has bound.

    Raises: ValueError if the model is not bound.
    """
    rng = rng_of(model)

    def take(module: nn.Module, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids = named.pop(KEY, None)
        if ids is not None and rng.step is not None:
            rng.at(rng.step, ids)
        return args, named

    model.register_forward_pre_hook(take, with_kwargs=True, prepend=True)
