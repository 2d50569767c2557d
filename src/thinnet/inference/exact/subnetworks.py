"""The 2^n sub-networks of a model with n coins: which coins there are, and what each sub-network makes of some inputs.

A sub-network is a number below 2^n: bit k of it says whether coin k keeps its unit. Its probability is the product of p over
the coins that drop and of 1 - p over those that keep. All inputs meet the same sub-networks.
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_leaves, tree_map

from thinnet.inference.deterministic.copying import free_copy, norms_still
from thinnet.models.edit.calls import CALLS
from thinnet.models.edit.order import call_with
from thinnet.models.edit.replace import replace
from thinnet.models.sites import sites
from thinnet.ops import NoiseKind
from thinnet.rng import Site, rates


class Use(NamedTuple):
    """The coins of one use of a site in a forward pass.

    Args:
        site: its name.
        units: the shape of the coins of one input: an axis that shares a coin has size one.
        p: the rate that is delivered.
    """

    site: str
    units: tuple[int, ...]
    p: float

    @property
    def coins(self) -> int:
        """How many coins it tosses for one input."""
        return prod(self.units)


class Enumerated:
    """Takes the place of the toss of a site in a copy of a model: the coins come from the number of a sub-network."""

    def __init__(self, networks: "Subnetworks", name: str, site: Site) -> None:
        self.networks, self.name, self.site = networks, name, site

    def apply_noise(self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED) -> Tensor:
        """Returns what the coins of the sub-networks that run make of `x`."""
        if kind != NoiseKind.INVERTED:
            raise ValueError(_no_coin(self.name, type(self.site).__name__))
        return self.networks.tossed(self.name, self.site.p or 0.0, x, shared_axes) if self.site.training else x

    def key(self, x: Tensor, batch: int | None = 0) -> None:
        """Says that the method of this site is more than a coin a unit, unless it is off."""
        if self.site.training:
            raise ValueError(_no_coin(self.name, type(self.site).__name__))


class Subnetworks:
    """The sub-networks of a model, found by running a copy of it; the model itself is not touched.

    Args:
        model: any module with dropout of thinnet's or PyTorch's, modules or functions.
        x: what it is called with: a tensor, a tuple of arguments, or a mapping of named ones; axis 0 counts the inputs.
        pick: takes the tensor of interest out of what the model returns.

    Raises:
        ValueError: the model has no coin, or what is random in it is no coin a unit; the message names it.

    >>> networks = Subnetworks(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.25), nn.Linear(3, 1)), torch.ones(1, 2))
    >>> networks.uses
    [Use(site='1', units=(3,), p=0.25)]
    >>> networks.probabilities(torch.tensor([0, 7])).tolist()
    [0.015625, 0.421875]
    """

    def __init__(self, model: nn.Module, x: Any, pick: Callable[[Any], Tensor] | None = None) -> None:
        self.x, self.pick = x, pick or (lambda out: out)
        self.batch = _batch(x)
        self.copy = free_copy("exact", model).eval()
        if isinstance(self.copy, _DropoutNd):  # what is replaced has to be held by something
            self.copy = nn.Sequential(self.copy)
        self._refuse_what_is_left_alone()
        self.named = {name: module for name, module in self.copy.named_modules() if isinstance(module, Site)}
        for name, site in self.named.items():
            hook = Enumerated(self, name, site)
            site.apply_noise, site.key = hook.apply_noise, hook.key  # type: ignore[method-assign]
        self.uses: list[Use] = []
        self._kept: Tensor | None = None  # (sub-networks, coins) of the pass that runs; None where uses are noted
        self._at = self._next = 0
        self._run(None)
        if not self.uses:
            raise ValueError("exact: model must have dropout with a rate above 0; no coin was tossed. Check its rates.")

    @property
    def coins(self) -> int:
        """How many coins there are in all: n of 2^n."""
        return sum(use.coins for use in self.uses)

    def masks(self, numbers: Tensor) -> Tensor:
        """Returns the coins of sub-networks, `(len(numbers), coins)`: True is kept."""
        return (numbers[:, None] >> torch.arange(self.coins, device=numbers.device)) & 1 != 0

    def probabilities(self, numbers: Tensor) -> Tensor:
        """Returns the probability of each sub-network, in float64."""
        p = torch.tensor([use.p for use in self.uses for _ in range(use.coins)], dtype=torch.float64, device=numbers.device)
        return torch.where(self.masks(numbers), 1 - p, p).prod(1)

    def outputs(self, numbers: Tensor) -> Tensor:
        """Returns what sub-networks make of the inputs, `(len(numbers), B, ...)`, computed as one enlarged batch."""
        out = self._run(self.masks(numbers))
        return out.unflatten(0, (len(numbers), self.batch))

    def whole(self) -> Tensor:
        """Returns the pass with dropout off, `(B, ...)`: weight scaling."""
        with torch.no_grad():
            return self._picked(call_with(self.copy.eval(), self.x), self.batch)

    def tossed(self, name: str, p: float, x: Tensor, shared: tuple[int, ...]) -> Tensor:
        """Returns what one use of a site makes of its input: the next coins of the sub-networks that run."""
        count = rates.count(p)
        if count in (0, rates.RESOLUTION):
            return x if count == 0 else torch.zeros_like(x)
        units = tuple(1 if axis in shared else size for axis, size in enumerate(x.shape))[1:]
        use = Use(name, units, count / rates.RESOLUTION)
        passes = 1 if self._kept is None else len(self._kept)
        if x.ndim == 0 or x.shape[0] != passes * self.batch:
            rule = f"exact: axis 0 must count the inputs at site {name!r}, as it has a coin for each unit of an input"
            raise ValueError(f"{rule}; got {tuple(x.shape)} for {passes * self.batch}. Put the batch first.")
        if self._kept is None:
            self.uses.append(use)
            return x
        if self._next >= len(self.uses) or self.uses[self._next] != use:
            raise ValueError(f"exact: all passes must use the same sites in the same order; {name!r} came out of turn.")
        kept = self._kept[:, self._at : self._at + use.coins].view(passes, 1, *units)
        self._at, self._next = self._at + use.coins, self._next + 1
        return torch.where(kept, x.unflatten(0, (passes, self.batch)) / (1 - use.p), 0).flatten(0, 1)

    def _run(self, kept: Tensor | None) -> Tensor:
        self._kept, self._at, self._next = kept, 0, 0
        passes = 1 if kept is None else len(kept)
        x = self.x if passes == 1 else tree_map(lambda leaf: _repeated(leaf, passes), self.x)
        with torch.no_grad():
            return self._picked(call_with(_coins_on(self.copy), x), passes * self.batch)

    def _picked(self, out: Any, rows: int) -> Tensor:
        out = self.pick(out)
        if not isinstance(out, Tensor) or out.ndim == 0 or out.shape[0] != rows:
            got = f"a tensor of {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(f"exact: model must return a tensor whose axis 0 counts the {rows} inputs; got {got}. Give pick=.")
        return out

    def _refuse_what_is_left_alone(self) -> None:
        """Makes sites of all dropout, and names what is random all the same."""
        with norms_still(self.copy):
            left = replace(self.copy, functional=True, example=self.x).notes
            found = sites(self.copy, run=lambda model: call_with(model, self.x), passes=2)
        if left:
            raise ValueError(f"exact: all dropout must be of sites; {left[0].strip()}. sample(model, x) draws from it.")
        ours = {name for name, module in self.copy.named_modules() if isinstance(module, Site)}
        for place in found:
            if (place.on_in_train or place.on_in_eval) and place.name not in ours:
                raise ValueError(_no_coin(place.name, f"{place.op} at {place.line or 'a place of its own'}"))


def _no_coin(name: str, what: str) -> str:
    return (
        f"exact: each site must toss one coin a unit; {name or 'the model'!r} is random by {what}, which is no such coin."
        " sample(model, x) draws from it."
    )


def _batch(x: Any) -> int:
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in tree_leaves(x) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"exact: x must be tensors whose axis 0 counts the inputs; got sizes {sorted(sizes)}. Bring it there.")
    return sizes.pop()


def _repeated(leaf: Any, passes: int) -> Any:
    return leaf.repeat(passes, *[1] * (leaf.ndim - 1)) if isinstance(leaf, Tensor) else leaf


def _coins_on(model: nn.Module) -> nn.Module:
    """Brings a copy into eval, with its sites on, and the modules that ask for their mode before they call a function."""
    model.eval()
    for module in model.modules():
        asks = CALLS in module._modules or isinstance(module, (nn.TransformerEncoder, nn.TransformerEncoderLayer))
        if isinstance(module, Site) or asks:  # a fused path of PyTorch's passes by the sites of its modules
            module.training = True
    return model
