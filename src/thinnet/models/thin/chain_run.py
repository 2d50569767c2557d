"""Runs a thinned chain: layers compute the kept units alone, and the site in between scales them.

    y = (W2[:, k] / (1 - p)) f(W1[k] x + b1[k]) + b2,  k = the kept units of the group

The parameters do not change. A layer gathers the part that it needs, and its gradient is scattered into zeros, so the weights
of a dropped unit get a gradient of exactly zero.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.elementwise.kept import Kept, width_of
from thinnet.models.rewrite.methods import Replacement
from thinnet.models.thin import layers
from thinnet.models.thin.layers import layer_of
from thinnet.models.thin.linear import in_one_step, linear
from thinnet.models.thin.piece import is_watched
from thinnet.models.trace.observe import tracing_draws
from thinnet.ops.schema import transformed
from thinnet.ops.take import take


class Chain:
    """The state that the modules of one chain share during a pass: its kept units.

    Args:
        site: the dropout.
        units: their number.
        direct: whether the consumers read the output of the site directly. They then scale their weights, so backward keeps
            no scaled copy of the units.
    """

    def __init__(self, site: BatchwiseDropout, units: int, direct: bool) -> None:
        self.site, self.units, self.direct = site, units, direct
        self.on = True
        self.layers: list[nn.Module] = []
        self.kept: Kept | None = None
        self.task = -1

    def begin(self, x: Tensor) -> None:
        """Draws the mask of a pass; the first producer calls it. If nothing or everything is dropped, the pass is dense."""
        compiled = torch.compiler.is_compiling()
        self.kept = None if self._dense(compiled) else self.site.keep(x, self.units)
        if not compiled:
            self.task = torch._C._current_graph_task_id()

    def _dense(self, compiled: bool) -> bool:
        site = self.site
        if not self.on or not site.training or site.p in (0, 1):
            return True
        if site.count == "bernoulli" and (compiled or transformed()):  # their number varies, and such code has one shape
            return True
        nothing_out = site.count == "fixed" and width_of(self.units, site.p or 0.0) == self.units
        return nothing_out or (not compiled and (tracing_draws() or is_watched(self.layers)))

    def now(self, x: Tensor, axis: int, run: int = 1) -> Kept | None:
        """Returns the kept units for a module that reads `x`; None if `x` has all units.

        Raises:
            RuntimeError: the mask belongs to another pass, because a checkpoint or the batch was split inside the chain.
        """
        kept = self.kept
        if kept is None or x.shape[axis] == self.units * run:
            return None
        if not torch.compiler.is_compiling() and self.task != torch._C._current_graph_task_id():
            raise RuntimeError(self._broken("all its layers must be recomputed together; a checkpoint begins inside it"))
        if x.shape[axis] != kept.width * run or x.shape[0] != kept.starts[-1]:
            rule = f"its modules must see one batch of {kept.starts[-1]} samples and {kept.width} kept units"
            raise RuntimeError(self._broken(f"{rule}; got a tensor of shape {tuple(x.shape)}"))
        return kept

    def in_weights(self, kept: Kept) -> bool:
        """Returns whether the consumers scale their weights."""
        return self.direct and kept.live is None

    def _broken(self, rule: str) -> str:
        name = self.site.name or "of a thinned chain"
        return f"site {name}: {rule}. Leave it out: thinnet.thin(model, x, leave=[...])."


def _by_group(x: Tensor, kept: Kept) -> tuple[Tensor, ...]:
    """Returns the samples of each group."""
    if len(kept.starts) == 2:
        return (x,)
    return x.split(kept.sizes)


class ThinnedLayer(Replacement):
    """Replaces `forward` of a layer: it computes the kept outputs from the kept inputs, and everything in eval.

    Args:
        module: the layer.
        reads: the chain whose units it reads, or None.
        run: how many of its inputs belong to one unit.
        makes: the chain whose units it makes, or None.
        first: whether it runs first in that chain.
    """

    def __init__(self, module: nn.Module, reads: Chain | None, run: int, makes: Chain | None, first: bool) -> None:
        super().__init__(module)
        self.reads, self.run, self.makes, self.first = reads, run, makes, first
        for chain in (reads, makes):
            if chain is not None:
                chain.layers.append(module)
        layer = layer_of(module)
        assert layer is not None
        self.layer = layer

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the kept outputs."""
        if self.makes is not None and self.first:
            self.makes.begin(x)
        axis = self.layer.axis if self.run == 1 else -1
        made = None if self.makes is None else self.makes.kept
        read = None if self.reads is None else self.reads.now(x, axis, self.run)
        if made is None and read is None:
            return self.method(x)
        rows, columns = (None if made is None else made.units), (None if read is None else read.units)
        weight, bias = self.module.weight, self.module.bias
        scaled = read is not None and self.reads is not None and self.reads.in_weights(read)
        one_group = len((made or read).starts) == 2  # type: ignore[union-attr]
        if one_group and self.layer.run is layers.linear and self.run == 1 and in_one_step(x, weight, bias):  # type: ignore[arg-type]
            return linear(x, weight, bias, rows, columns, float(read.scale) if scaled else 1.0)  # type: ignore[arg-type, union-attr]
        if self.layer.transposed:
            weights = take(weight, columns, rows)  # type: ignore[arg-type]
        else:
            weights = take(weight, rows, columns, self.run)  # type: ignore[arg-type]
        if scaled:
            weights = weights * read.scale  # type: ignore[union-attr]
        biases = [bias] * len(weights) if bias is None or rows is None else take(bias, rows, None)  # type: ignore[arg-type]
        parts = _by_group(x, made or read)  # type: ignore[arg-type]
        if one_group:  # a view; the derivative of unbinding would copy the gradient
            weights = (weights.squeeze(0),)
        outs = [self.layer.run(self.module, *part) for part in zip(parts, weights, biases, strict=True)]  # type: ignore[arg-type]
        return outs[0] if len(outs) == 1 else torch.cat(outs)


class ThinnedNorm(Replacement):
    """Replaces `forward` of a batch normalisation: it normalises the kept channels.

    The statistics of a channel are those of the dense network. The running statistics of a dropped channel do not move.

    Args:
        module: the normalisation.
        chain: whose units it normalises.
    """

    def __init__(self, module: _BatchNorm, chain: Chain) -> None:
        super().__init__(module)
        self.chain = chain
        chain.layers.append(module)

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the normalised channels."""
        norm, kept = self.module, self.chain.now(x, 1)
        if kept is None:
            return self.method(x)
        assert isinstance(norm, _BatchNorm)
        units = kept.units[0]
        running = [None if buffer is None else buffer[units] for buffer in (norm.running_mean, norm.running_var)]
        weight, bias = (None if each is None else take(each, kept.units, None)[0] for each in (norm.weight, norm.bias))
        batch = norm.training or norm.running_mean is None
        momentum = 0.0 if norm.momentum is None else norm.momentum
        y = F.batch_norm(x, running[0], running[1], weight, bias, batch, momentum, norm.eps)
        if norm.training and norm.running_mean is not None and norm.running_var is not None:
            with torch.no_grad():
                norm.running_mean.index_copy_(0, units, running[0])  # type: ignore[arg-type]
                norm.running_var.index_copy_(0, units, running[1])  # type: ignore[arg-type]
                norm.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return y


class ThinnedSite(Replacement):
    """Replaces `forward` of the site: it scales the kept units, unless the consumers scale their weights.

    A hook on the site sees unscaled units in that case.

    Args:
        chain: whose site it is.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain.site)
        self.chain = chain

    def __call__(self, x: Tensor) -> Any:
        """Returns the scaled units. Units that only pad the width are zero."""
        axis = self.chain.site.axis
        kept = self.chain.now(x, axis)
        everything = self.chain.kept  # with independent units, a group may keep all of them
        if kept is None and everything is not None and everything.width == self.chain.units:
            kept = everything
        if kept is None:
            return self.method(x)
        if self.chain.in_weights(kept):
            return x
        scale = kept.scale.to(torch.promote_types(x.dtype, torch.float32))
        if kept.live is None:
            return (x * scale).to(x.dtype)
        shape = [size if other == axis % x.ndim else 1 for other, size in enumerate(x.shape)]
        parts = [
            torch.where(live.reshape(shape), part * scale, 0).to(x.dtype)
            for live, part in zip(kept.live, _by_group(x, kept), strict=True)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)
