"""Attention on the kept heads alone: y = W_o[:, k] [heads_k] H / K, with heads_k = W[k] x for the K kept of H heads."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.residual.separable import countable, modes_active
from thinnet.ops.attention import FAST
from thinnet.ops.dtensor import is_sharded
from thinnet.ops.take import take
from thinnet.rng import Site


class Heads(NamedTuple):
    """The heads that a pass computes.

    Args:
        rows: their numbers, `(K,)`, int64, ascending. If none is kept it is one head with scale 0.
        among: number of all heads.
        scale: factor of the kept heads.
    """

    rows: Tensor
    among: int
    scale: float

    def projection(self, weight: Tensor, parts: int = 1) -> Tensor:
        """Returns the rows of a weight or bias that compute the kept heads, in each of its `parts`."""
        places = torch.cat([self.rows + self.among * part for part in range(parts)])[None]
        rows = take(weight.unflatten(0, (parts * self.among, -1)), places, None)[0]
        return rows.flatten(0, 1)

    def select(self, x: Tensor) -> Tensor:
        """Returns the kept heads of axis 1, or `x` itself where axis 1 does not count the heads."""
        return x if x.shape[1] != self.among or self.among == 1 else x.index_select(1, self.rows)

    def apply(self, site: Site, x: Tensor) -> Tensor:
        """Returns the output of a site on the kept heads, with the masks that they have among all heads."""
        shape = x.shape[0], self.among, *x.shape[2:]
        return site(x.new_zeros(shape).index_copy(1, self.rows, x)).index_select(1, self.rows)

    def joined(self, y: Tensor, layer: nn.Module) -> Tensor:
        """Returns the output projection of the scaled kept heads, `(..., K D)`."""
        y = y * self.scale if self.scale else torch.where(torch.zeros((), dtype=torch.bool, device=y.device), y, 0)
        if not _plain(layer):
            full = y.new_zeros(*y.shape[:-1], self.among, y.shape[-1] // len(self.rows))
            return layer(full.index_copy(-2, self.rows, y.unflatten(-1, (len(self.rows), -1))).flatten(-2))
        assert isinstance(layer, nn.Linear)
        weight = take(layer.weight, None, self.rows[None], run=y.shape[-1] // len(self.rows))[0]
        return nn.functional.linear(y, weight, layer.bias)


def kept_heads(site: Site | None, attention: nn.Module, x: Tensor, count: int) -> Heads | None:
    """Returns the heads to compute; None if all are computed, or if work cannot be skipped."""
    if not isinstance(site, DropHead) or not site.shared or type(site).drop is not DropHead.drop or not countable(x):
        return None
    if not (site.training and site.p) or modes_active() or any(is_sharded(p) for p in attention.parameters()):
        return None
    kept, scale = site.keep(x, count)
    rows = kept.nonzero().flatten()
    return Heads(rows, count, scale) if len(rows) else Heads(rows.new_zeros(1), count, 0.0)


def kernel_skips(site: Site | None, x: Tensor) -> bool:
    """Returns whether the kernel of attention may take the factors of a site's heads: nothing else reads or replaces them."""
    if not isinstance(site, DropHead) or type(site).drop is not DropHead.drop or not countable(x):
        return False
    if x.dtype not in FAST:  # the reference, which serves float64, skips nothing
        return False
    replaced = vars(site).keys() & {"apply_noise", "drop", "forward"}
    return bool(site.training and site.p) and not (replaced or modes_active() or _hooked(site))


def _hooked(layer: nn.Module) -> bool:
    return any((layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks))


def _plain(layer: nn.Module) -> bool:
    """Returns whether a layer computes exactly its weight and bias."""
    linear = isinstance(layer, nn.Linear) and type(layer).forward is nn.Linear.forward and "forward" not in vars(layer)
    return linear and not _hooked(layer) and not is_parametrized(layer)
