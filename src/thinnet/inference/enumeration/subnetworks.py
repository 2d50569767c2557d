"""The 2^n sub-networks of a model with n dropped-or-kept units.

A sub-network is a number below 2^n: bit k is set if unit k is kept. Its probability is the product of p over the dropped units
and of 1 - p over the kept ones. All inputs meet the same sub-networks.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_leaves, tree_map

from thinnet.inference.copies import free_copy, norms_pinned
from thinnet.models.edit.calls import CALLS
from thinnet.models.edit.order import call_with
from thinnet.models.edit.replace import replace
from thinnet.models.rewrite.methods import Replacement
from thinnet.models.sites import sites
from thinnet.ops import NoiseKind
from thinnet.rng import Site, rates


class Use(NamedTuple):
    """One use of a dropout site in a forward pass.

    Args:
        site: the name of the site.
        shape: the shape of the mask of one input; shared axes have size one.
        p: the rate that is delivered.
    """

    site: str
    shape: tuple[int, ...]
    p: float

    @property
    def units(self) -> int:
        """The number of dropped-or-kept units of one input."""
        return prod(self.shape)


class Enumerated(Replacement):
    """Replaces `apply_noise` of a site by the masks that the numbers of sub-networks encode."""

    name = "apply_noise"

    def __init__(self, networks: "Subnetworks", path: str, site: Site) -> None:
        super().__init__(site)
        self.networks, self.path, self.site = networks, path, site

    def __call__(self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED) -> Tensor:
        """Applies the masks of the sub-networks that run now."""
        if kind != NoiseKind.INVERTED:
            raise ValueError(_no_mask(self.path, type(self.site).__name__))
        return self.networks.masked(self.path, self.site.p or 0.0, x, shared_axes) if self.site.training else x


class NoKey(Replacement):
    """Replaces `key` of a site: it refuses a method whose noise is not one Bernoulli mask, unless the site is off."""

    name = "key"

    def __init__(self, path: str, site: Site) -> None:
        super().__init__(site)
        self.path = path

    def __call__(self, x: Tensor, batch: int | None = 0) -> None:
        """Refuses a site that is on."""
        if self.module.training:
            raise ValueError(_no_mask(self.path, type(self.module).__name__))


class Subnetworks:
    """The sub-networks of a model, run on a copy; the model itself is unchanged.

    Model, inputs, `pick` and errors are those of `exact`.

    >>> networks = Subnetworks(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.25), nn.Linear(3, 1)), torch.ones(1, 2))
    >>> networks.uses
    [Use(site='1', shape=(3,), p=0.25)]
    >>> networks.probabilities(torch.tensor([0, 7])).tolist()
    [0.015625, 0.421875]
    """

    def __init__(self, model: nn.Module, x: Any, pick: Callable[[Any], Tensor] | None = None) -> None:
        self.x, self.pick = x, pick or (lambda out: out)
        self.batch = _batch(x)
        self.copy = free_copy("exact", model).eval()
        if isinstance(self.copy, _DropoutNd) and not isinstance(self.copy, Site):  # `replace` needs a parent module
            self.copy = nn.Sequential(self.copy)
        self._check_randomness()
        self.named = {name: module for name, module in self.copy.named_modules() if isinstance(module, Site)}
        for name, site in self.named.items():
            Enumerated(self, name, site).put()
            NoKey(name, site).put()
        self.uses: list[Use] = []
        self._kept: Tensor | None = None  # (sub-networks, units) of this pass; None while uses are recorded
        self._at = self._next = 0
        self._run(None)
        if not self.uses:
            raise ValueError("exact: model must have dropout with a rate above 0; it drops no unit. Check its rates.")

    @property
    def units(self) -> int:
        """The number of dropped-or-kept units: the n of 2^n."""
        return sum(use.units for use in self.uses)

    def masks(self, numbers: Tensor) -> Tensor:
        """Returns the masks of sub-networks, `(len(numbers), units)`: True is kept."""
        return bits(numbers, 0, self.units)

    def probabilities(self, numbers: Tensor) -> Tensor:
        """Returns the probability of each sub-network, in float64."""
        p = torch.tensor([use.p for use in self.uses for _ in range(use.units)], dtype=torch.float64, device=numbers.device)
        return torch.where(self.masks(numbers), 1 - p, p).prod(1)

    def outputs(self, numbers: Tensor) -> Tensor:
        """Returns the outputs of sub-networks, `(len(numbers), B, ...)`, computed as one enlarged batch."""
        out = self._run(self.masks(numbers))
        return out.unflatten(0, (len(numbers), self.batch))

    def whole(self) -> Tensor:
        """Returns the output with dropout off, `(B, ...)`: weight scaling."""
        with torch.no_grad():
            return self._picked(call_with(self.copy.eval(), self.x), self.batch)

    def masked(self, name: str, p: float, x: Tensor, shared: tuple[int, ...]) -> Tensor:
        """Returns the output of one use of a site: its input under the next bits of the sub-networks that run."""
        count = rates.count(p)
        if count in (0, rates.RESOLUTION):
            return x if count == 0 else torch.zeros_like(x)
        shape = tuple(1 if axis in shared else size for axis, size in enumerate(x.shape))[1:]
        use = Use(name, shape, count / rates.RESOLUTION)
        passes = 1 if self._kept is None else len(self._kept)
        if x.ndim == 0 or x.shape[0] != passes * self.batch:
            rule = f"exact: axis 0 must count the inputs at site {name!r}, since each input has its own units"
            raise ValueError(f"{rule}; got {tuple(x.shape)} for {passes * self.batch}. Put the batch first.")
        if self._kept is None:
            self.uses.append(use)
            return x
        if self._next >= len(self.uses) or self.uses[self._next] != use:
            raise ValueError(f"exact: all passes must use the same sites in the same order; {name!r} was out of order.")
        kept = self._kept[:, self._at : self._at + use.units].view(passes, 1, *shape)
        self._at, self._next = self._at + use.units, self._next + 1
        return torch.where(kept, x.unflatten(0, (passes, self.batch)) / (1 - use.p), 0).flatten(0, 1)

    def _run(self, kept: Tensor | None) -> Tensor:
        self._kept, self._at, self._next = kept, 0, 0
        passes = 1 if kept is None else len(kept)
        x = self.x if passes == 1 else tree_map(lambda leaf: _repeated(leaf, passes), self.x)
        with torch.no_grad():
            return self._picked(call_with(_dropout_on(self.copy), x), passes * self.batch)

    def _picked(self, out: Any, rows: int) -> Tensor:
        out = self.pick(out)
        if not isinstance(out, Tensor) or out.ndim == 0 or out.shape[0] != rows:
            got = f"a tensor of {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"exact: model must return a tensor whose axis 0 counts the {rows} inputs; got {got}. Give pick=.")
        return out

    def _check_randomness(self) -> None:
        """Turns all dropout into sites, and refuses any other random operation."""
        with norms_pinned(self.copy):
            left = replace(self.copy, functional=True, example=self.x).notes
            found = sites(self.copy, run=lambda model: call_with(model, self.x), passes=2)
        if left:
            raise ValueError(f"exact: thinnet must be able to replace all dropout; {left[0].strip()}. Use sample(model, x).")
        ours = {name for name, module in self.copy.named_modules() if isinstance(module, Site)}
        for place in found:
            if place.is_random and place.name not in ours:
                raise ValueError(_no_mask(place.name, f"{place.op} at {place.line or 'an unknown line'}"))


def bits(numbers: Tensor, first: int, count: int) -> Tensor:
    """Returns `count` bits of each number from bit `first` on, `(len(numbers), count)`.

    >>> bits(torch.tensor([6]), 1, 3)
    tensor([[ True,  True, False]])
    """
    return (numbers[:, None] >> torch.arange(first, first + count, device=numbers.device)) & 1 != 0


def _no_mask(name: str, what: str) -> str:
    return f"exact: each site must apply one Bernoulli mask; {name or 'the model'!r} uses {what}. Use sample(model, x)."


def _batch(x: Any) -> int:
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in tree_leaves(x) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"exact: x must be tensors whose axis 0 counts the inputs; got sizes {sorted(sizes)}. Reshape x.")
    return sizes.pop()


def _repeated(leaf: Any, passes: int) -> Any:
    return leaf.repeat(passes, *[1] * (leaf.ndim - 1)) if isinstance(leaf, Tensor) else leaf


def _dropout_on(model: nn.Module) -> nn.Module:
    """Brings a copy into eval with its sites on, and with the modules on that test their mode before a functional call."""
    model.eval()
    for module in model.modules():
        asks = CALLS in module._modules or isinstance(module, (nn.TransformerEncoder, nn.TransformerEncoderLayer))
        if isinstance(module, Site) or asks:  # the fused path of PyTorch skips the sites inside
            module.training = True
    return model
