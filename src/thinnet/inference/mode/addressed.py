"""The coins of draws: sites of a copied model that read their names from a private clock, whose step counts the draws."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.inference.mode.norms_in_eval import STATISTICS, Held, held
from thinnet.inference.mode.vmap_rules import attended, normed, serves
from thinnet.models.edit.calls import ATTENTION, CALLS, SITES, Call, call_of, innermost
from thinnet.models.edit.order import call_with
from thinnet.models.edit.pin import Pinned
from thinnet.models.edit.replace import replace
from thinnet.models.edit.swap import ours
from thinnet.rng import Site, site_number
from thinnet.rng.context import RNGContext
from thinnet.rng.names import plain


class Arguments(NamedTuple):
    """What a model was called with."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Draws(RNGContext):
    """A clock whose step may be one number for each draw under `torch.func.vmap`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.now = torch.tensor(0)
        self.started = True

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples on a device."""
        seed, _, samples = super().tensors(device)
        return seed, self.now.to(device), samples

    def rows(self, samples: Tensor | int | None) -> None:
        """Goes to the samples of a batch."""
        self.at(None, samples)
        self._tensors.clear()
        self.started = True


class Served(Held):
    """Serves what a model calls as a function by sites of its own, under the names that `thinnet.replace` would give them.

    Args:
        model: a copy, which this may change: PyTorch's dropout modules become sites.
        seed: of the coins.
        pooled: paths of modules that toss where axis 0 does not count samples: such coins are those of its indices.
    """

    def __init__(self, model: nn.Module, seed: int, pooled: frozenset[str] = frozenset()) -> None:
        super().__init__()
        own = ours(model)
        self.model = model if own is None else own
        if own is None:
            replace(self.model)
        self.context, self.pool = Draws(seed), Draws(seed)
        self.pool.calls = self.context.calls
        self.pooled = pooled
        self.names = {module: plain(name) for name, module in self.model.named_modules()}
        self.made: dict[str, Site] = {}
        self._counts: dict[int, int] = {}
        self._frames: list[Any] = []  # so that no other frame gets the number of one
        for module, name in self.names.items():
            if isinstance(module, Site):
                self._bind(module, name)

    def _bind(self, site: Site, name: str) -> None:
        pooled = name in self.pooled or name.split(CALLS)[0].rstrip(".") in self.pooled
        site.context, site.name = self.pool if pooled else self.context, name
        site.site = torch.tensor(site_number(name), device=site.rate.device)
        site.inplace = False
        self.context.calls.sites.append(site)

    def switch(self, paths: set[str] | frozenset[str]) -> None:
        """Turns on every site and the modules at `paths`, and nothing else; what is pinned stays."""
        for module, name in self.names.items():
            if not isinstance(vars(module).get("train"), Pinned):
                module.training = isinstance(module, Site) or name in paths

    def call(self, example: Any, step: Tensor, samples: Tensor | int | None) -> Any:
        """Runs the model with the coins of a draw."""
        self.context.now = self.pool.now = step
        self.context.rows(samples)
        self.pool.rows(None)
        self._counts, self._frames = {}, []
        self.context.calls.begin()
        try:
            with self:
                if isinstance(example, Arguments):
                    return self.model(*example.args, **example.kwargs)
                return call_with(self.model, example)
        finally:
            self.context.calls.end()
            self._frames = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Serves a dropout function that is told to drop; runs all others, norms as in eval."""
        if func in STATISTICS:
            args, kwargs = held(func, args, kwargs or {})
            return (normed if func is F.batch_norm else func)(*args, **kwargs)
        if func in SITES:
            frame, module = innermost()
            if module in self.names:
                call, number = call_of(func, args, kwargs or {}), self._count(frame)
                if call.p > 0:
                    return call.served(self._site(f"{self.names[module]}.{CALLS}.{number}".lstrip("."), call))
                if func is ATTENTION and serves(call.given):
                    return attended(call.given)
        return func(*args, **kwargs or {})

    def _count(self, frame: Any) -> int:
        self._frames.append(frame)
        self._counts[id(frame)] = self._counts.get(id(frame), -1) + 1
        return self._counts[id(frame)]

    def _site(self, name: str, call: Call) -> Site:
        site = self.made.get(name)
        if site is None or type(site) is not SITES[call.function]:
            site = self.made[name] = call.site()
            self._bind(site, name)
        if site.p != call.p:
            site.p = call.p
        return site
