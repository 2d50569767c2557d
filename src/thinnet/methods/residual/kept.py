"""The samples that a residual branch keeps: it runs on them alone, and the sites inside of it go on to know who they are.

out = x; out[k] += f(x[k]) / (1 - p),  k = the samples whose coin is kept
"""

from collections.abc import Iterable
from ctypes import c_float
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.noise_shapes import samples
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.context import RNGContext


class Kept:
    """Which samples a branch keeps in a pass.

    Args:
        mask: over the samples of the batch.
        coins: where the mask is from, if it is of a site.

    Attributes:
        size: how many samples there are.
        empty: whether none is kept.
        rows: the numbers of the samples to compute, int64, ascending; None where they are all. Where none is kept it is one,
            for those who have to run; what they make of it is dropped.
        inside: whether the branch runs now.
    """

    def __init__(self, mask: Tensor, key: NoiseKey | None = None) -> None:
        rows = mask.nonzero().flatten()
        self.key, self.size, self.empty, self.inside = key, len(mask), not len(rows), True
        self.rows = rows.new_zeros(min(1, self.size)) if self.empty else None if len(rows) == self.size else rows
        self.task = torch._C._current_graph_task_id()

    def asked(self, step: Tensor) -> Tensor | None:
        """Returns the rows for a site that tosses now: in the branch, or where backward computes a part of it again.

        Raises: RuntimeError where that part is of another step than the last pass.
        """
        if self.rows is None or self.inside or torch._C._current_graph_task_id() == -1:
            return self.rows if self.inside else None
        mine = None if self.key is None else self.key.name[1]
        if mine is not None and step.device == mine.device and step is not mine:
            raise RuntimeError(
                "a branch that leaves samples out: what a checkpoint computes again must be of its last forward pass; it is of"
                " another step. Put the checkpoint around the whole block."
            )
        return self.rows

    def gathered(self, x: Tensor, values: Any, others: bool = False) -> Any:
        """Returns arguments with the kept samples of `x` alone; of other tensors too, if asked, whose axis 0 counts samples."""
        if self.rows is None:
            return values
        rows, part = self.rows, x.index_select(0, self.rows)

        def taken(leaf: Any) -> Any:
            if leaf is x:
                return part
            sized = others and isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == self.size
            return leaf.index_select(0, rows) if sized else leaf

        if type(values) is tuple and len(values) == 1:
            return (taken(values[0]),)
        return tree_map(taken, values)

    def put_back(self, y: Tensor, scale: float, x: Tensor | None = None) -> Tensor:
        """Returns what the branch made of the kept samples, scaled, and zeros for the others; or that added to `x`.

        Raises: RuntimeError where the branch made another number of samples.
        """
        if self.rows is None:
            assert self.key is not None
            y = self.key.apply_noise(y, samples(y.ndim))
            return y if x is None else x + y
        if not y.ndim or len(y) != len(self.rows):
            rule = f"a branch that leaves samples out must map {len(self.rows)} of them to as many"
            raise RuntimeError(f"{rule}; got an output of shape {tuple(y.shape)}. Use skip=False, or leave it out of thin.")
        if self.empty:
            y = torch.where(torch.zeros((), dtype=torch.bool, device=y.device), y, 0)
        if x is None or x.shape[1:] != y.shape[1:]:
            y = y.new_zeros(self.size, *y.shape[1:]).index_add(0, self.rows, y, alpha=scale)
            return y if x is None else x + y
        dtype = torch.promote_types(x.dtype, y.dtype)
        return x.to(dtype).index_add(0, self.rows, y.to(dtype), alpha=scale)


def keep(site: Site, x: Tensor) -> Kept:
    """Tosses the coins of a pass, one for each sample of `x`."""
    key = site.key(x)
    assert key is not None
    return Kept(key.mask((len(x),)), key)


def tell(site: Site, inner: Iterable[nn.Module], kept: Kept | None) -> None:
    """Tells the sites inside of a branch which samples there are: those of `kept`, or all of the batch.

    Args:
        site: of the branch.
        inner: modules of the branch.
        kept: the samples; None for all.
    """
    for module in inner:
        if isinstance(module, Site) and module.context is not None:
            context = (
                site.context
                if site.context is not None and root(site.context) is root(module.context)
                else root(module.context)
            )
            first = type(module) is BatchwiseDropout
            module.context = context if kept is None else Inside(context, kept, first)  # type: ignore[assignment]


class Inside:
    """The clock of a site inside of a branch: the samples are those that the branch keeps.

    Args:
        clock: of the branch.
        kept: its samples.
        first: whether the site's coins have the name of the batch's first sample, kept or not.
    """

    def __init__(self, context: "RNGContext | Inside", kept: Kept, first: bool) -> None:
        self.context, self.kept, self.first = context, kept, first

    @property
    def calls(self) -> Any:
        """The counter of all sites."""
        return self.context.calls

    @property
    def started(self) -> bool:
        """Whether the clock was told where the run is."""
        return self.context.started

    @property
    def rows_given(self) -> bool:
        """Whether there is an id for each row."""
        if torch.compiler.is_compiling() or self.kept.rows is None:
            return self.context.rows_given
        asked = self.kept.inside or torch._C._current_graph_task_id() != -1
        return not self.first if asked else self.context.rows_given

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples as int64 tensors on a device."""
        seed, step, samples = self.context.tensors(device)
        rows = None if torch.compiler.is_compiling() else self.kept.asked(step)
        if rows is None:
            return seed, step, samples
        if self.first:
            return seed, step, samples[:1]
        rows = rows.to(device)
        return seed, step, samples[rows] if self.context.rows_given else samples + rows


def root(context: Any) -> RNGContext:
    """Returns the clock of a bound model behind those of branches."""
    while isinstance(context, Inside):
        context = context.context
    return context


def scale(site: Site) -> float:
    """Returns 1 / (1 - p) at the delivered rate, rounded to float32 as the toss has it; 0 where everything is dropped."""
    kept = rates.RESOLUTION - rates.count(site.p or 0.0)
    return c_float(rates.RESOLUTION / kept).value if kept else 0.0
