"""Runs a residual branch on the kept samples alone: out = x; out[k] += f(x[k]) / (1 - p)."""

from collections.abc import Iterable
from ctypes import c_float
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.noise_shapes import samples
from thinnet.methods.numbers import axes_in_memory
from thinnet.rng import NoiseKey, Site, rates
from thinnet.rng.context import RNGContext, model_context


class Kept:
    """The samples that a branch keeps in a forward pass.

    Args:
        mask: bool, over the samples of the batch.
        key: of the mask, if it is that of a site.

    Attributes:
        size: number of samples.
        empty: whether no sample is kept.
        rows: indices of the samples to compute, int64, ascending; None if all are. If none is kept it is one index, for
            branches that must run; its output is dropped.
        inside: whether the branch is running.
    """

    def __init__(self, mask: Tensor, key: NoiseKey | None = None) -> None:
        rows = mask.nonzero().flatten()
        self.key, self.size, self.empty, self.inside = key, len(mask), not len(rows), True
        self.rows = rows.new_zeros(min(1, self.size)) if self.empty else None if len(rows) == self.size else rows
        self.task = torch._C._current_graph_task_id()

    def rows_now(self, step: Tensor) -> Tensor | None:
        """Returns the rows for a site that draws now, in the branch or where backward recomputes a part of it.

        Raises a RuntimeError if the recomputed part belongs to another step than the last pass.
        """
        if self.rows is None or self.inside or torch._C._current_graph_task_id() == -1:
            return self.rows if self.inside else None
        mine = None if self.key is None else self.key.step
        if mine is not None and step.device == mine.device and step is not mine:
            raise RuntimeError(
                "a branch that skips samples: a checkpoint must recompute its last forward pass; got a pass of another step."
                " Put the checkpoint around the whole block."
            )
        return self.rows

    def gathered(self, x: Tensor, values: Any, others: bool = False) -> Any:
        """Returns arguments with the kept samples of `x` alone; with `others`, also of tensors whose axis 0 counts samples."""
        if self.rows is None:
            return values
        rows, part = self.rows, _taken(x, self.rows)

        def taken(leaf: Any) -> Any:
            if leaf is x:
                return part
            sized = others and isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == self.size
            return _taken(leaf, rows) if sized else leaf

        if type(values) is tuple and len(values) == 1:
            return (taken(values[0]),)
        return tree_map(taken, values)

    def put_back(self, y: Tensor, scale: float, x: Tensor | None = None) -> Tensor:
        """Returns the scaled branch output of the kept samples with zeros for the others, or that added to `x`."""
        if self.rows is None:
            assert self.key is not None
            y = self.key.apply_noise(y, samples(y.ndim))
            return y if x is None else x + y
        if not y.ndim or len(y) != len(self.rows):
            rule = f"a branch that skips samples must map {len(self.rows)} of them to as many"
            raise RuntimeError(f"{rule}; got an output of shape {tuple(y.shape)}. Use skip=False, or leave it out of thin.")
        if self.empty:
            y = torch.where(torch.zeros((), dtype=torch.bool, device=y.device), y, 0)
        if y.dtype in (torch.bfloat16, torch.float16):  # `alpha` would be rounded to that
            y, scale = y * scale, 1.0
        if x is None or x.shape[1:] != y.shape[1:]:
            y = y.new_zeros(self.size, *y.shape[1:]).index_add(0, self.rows, y, alpha=scale)
            return y if x is None else x + y
        dtype = torch.promote_types(x.dtype, y.dtype)
        return _added(x.to(dtype), self.rows, y.to(dtype), scale)


def _taken(x: Tensor, rows: Tensor) -> Tensor:
    """Returns rows of `x` in its memory format, which `index_select` keeps only, and is fast only, where `x` is contiguous."""
    if x.is_contiguous():
        return x.index_select(0, rows)
    order, back = axes_in_memory(x)
    return x.permute(order).index_select(back[0], rows).permute(back)


def _added(x: Tensor, rows: Tensor, y: Tensor, scale: float) -> Tensor:
    """Returns `x` plus the scaled `y` in some rows, in the memory format of `x`."""
    if x.is_contiguous():
        return x.index_add(0, rows, y, alpha=scale)
    order, back = axes_in_memory(x)
    return x.permute(order).index_add(back[0], rows, y.permute(order), alpha=scale).permute(back)


def keep(site: Site, x: Tensor) -> Kept:
    """Draws the mask of a pass, one decision per sample of `x`."""
    key = site.key(x)
    assert key is not None
    return Kept(key.mask((len(x),)), key)


def set_samples(site: Site, inner: Iterable[nn.Module], kept: Kept | None) -> None:
    """Sets which samples the sites inside a branch count: those of `kept`, or all of the batch if it is None."""
    for module in inner:
        if isinstance(module, Site) and module.context is not None:
            context = model_context(module.context)
            if site.context is not None and model_context(site.context) is context:
                context = site.context
            first = type(module) is BatchwiseDropout
            module.context = context if kept is None else BranchContext(context, kept, first)  # type: ignore[assignment]


class BranchContext:
    """RNG context of a site inside a branch: its samples are those that the branch keeps.

    Args:
        context: of the branch.
        kept: its samples.
        first: whether the site's mask has the address of the batch's first sample, kept or not.
    """

    def __init__(self, context: "RNGContext | BranchContext", kept: Kept, first: bool) -> None:
        self.context, self.kept, self.first = context, kept, first

    @property
    def calls(self) -> Any:
        """The call counter of all sites."""
        return self.context.calls

    @property
    def started(self) -> bool:
        """Whether the context has a step."""
        return self.context.started

    @property
    def rows_given(self) -> bool:
        """Whether each row has its own sample id."""
        if torch.compiler.is_compiling() or self.kept.rows is None:
            return self.context.rows_given
        restricted = self.kept.inside or torch._C._current_graph_task_id() != -1
        return not self.first if restricted else self.context.rows_given

    def other_rows(self, name: str | None, x: Tensor, batch: int, samples: Tensor) -> Tensor:
        """Does what the context does with an input whose axis does not count the samples."""
        return self.context.other_rows(name, x, batch, samples)

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples as int64 tensors on a device."""
        seed, step, samples = self.context.tensors(device)
        rows = None if torch.compiler.is_compiling() else self.kept.rows_now(step)
        if rows is None:
            return seed, step, samples
        if self.first:
            return seed, step, samples[:1]
        rows = rows.to(device)
        return seed, step, samples[rows] if self.context.rows_given else samples + rows


def scale(site: Site) -> float:
    """Returns 1 / (1 - p) at the delivered rate, rounded to float32 as in the op; 0 if everything is dropped."""
    kept = rates.RESOLUTION - rates.count(site.p or 0.0)
    return c_float(rates.RESOLUTION / kept).value if kept else 0.0
