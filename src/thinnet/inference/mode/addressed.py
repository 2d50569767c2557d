"""A copy of a model in which all dropout has an address, the step of which counts the draws."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.inference.mode.norms_in_eval import STATISTICS, as_in_eval
from thinnet.inference.mode.vmap_rules import attended, joins, normed
from thinnet.models.edit.calls import CALLS
from thinnet.models.edit.equivalents import ATTENTION, FUNCTIONS, Call, call_of, equivalent
from thinnet.models.edit.order import call_with
from thinnet.models.edit.replace import replace
from thinnet.models.rewrite.functions import Intercepted, Rules, running_module
from thinnet.models.rewrite.methods import is_pinned
from thinnet.rng import Site
from thinnet.rng.context import RNGContext
from thinnet.rng.names import plain


class Arguments(NamedTuple):
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Draws(RNGContext):
    """An RNG context whose step may be one number for each draw under `torch.func.vmap`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.now = torch.tensor(0)
        self.misfits: dict[str, None] = {}  # sites whose input had other rows than samples

    @property
    def started(self) -> bool:
        """Whether there is a step: always, as each draw sets its own."""
        return True

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples on a device."""
        seed, _, samples = super().tensors(device)
        return seed, self.now.to(device), samples

    def other_rows(self, name: str | None, x: Tensor, batch: int, samples: Tensor) -> Tensor:
        """Returns the first index of the rows, as of the tokens that a mixture gives to an expert, and notes the site."""
        self.misfits[name or ""] = None
        return torch.zeros(1, dtype=torch.int64, device=x.device)

    def rows(self, samples: Tensor | int | None) -> None:
        """Sets the sample ids of a batch."""
        self.at(None, samples)


class Addressed:
    """Runs a model with addressed masks. Sites serve its dropout functions, at the addresses that `thinnet.replace` gives.

    Args:
        model: a copy, which this changes: dropout modules of PyTorch become sites.
        seed: of the masks.
        pooled: paths of modules whose axis 0 does not count samples. Their masks are those of its indices.
    """

    def __init__(self, model: nn.Module, seed: int, pooled: frozenset[str] = frozenset()) -> None:
        own = equivalent(model)
        self.model = model if own is None else own
        if own is None:
            replace(self.model)
        self.context, self.pool = Draws(seed), Draws(seed)
        self.pool.calls = self.context.calls
        self.pooled = pooled
        self.names = {module: plain(name) for name, module in self.model.named_modules()}
        self.made: dict[str, Site] = {}
        self._counts: dict[int, int] = {}
        self._frames: list[Any] = []  # so that no other frame gets the id of one
        for module, name in self.names.items():
            if isinstance(module, Site):
                self._bind(module, name)

    def _bind(self, site: Site, name: str) -> None:
        pooled = name in self.pooled or name.split(CALLS)[0].rstrip(".") in self.pooled
        site.bind(self.pool if pooled else self.context, name)
        site.inplace = False
        self.context.calls.sites.append(site)

    def switch(self, paths: set[str] | frozenset[str], sites: bool = True) -> None:
        """Turns on the sites and the modules at `paths`, and turns off the rest. A pinned module keeps its mode."""
        for module, name in self.names.items():
            if not is_pinned(module):
                module.training = (sites and isinstance(module, Site)) or name in paths

    def call(self, example: Any, step: Tensor, samples: Tensor | int | None) -> Any:
        """Runs the model with the masks of a draw."""
        self.context.now = self.pool.now = step
        self.context.rows(samples)
        self.pool.rows(None)
        self._counts, self._frames = {}, []
        self.context.calls.begin()
        try:
            with Intercepted(RULES, self):
                if isinstance(example, Arguments):
                    return self.model(*example.args, **example.kwargs)
                return call_with(self.model, example)
        finally:
            self.context.calls.end()
            self._frames = []

    def serve(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Serves a call to a dropout function that may drop; runs any other."""
        frame, module = running_module()
        if module in self.names:
            call, number = call_of(func, args, kwargs), self._count(frame)
            if call.p > 0:
                return call.through(self._site(f"{self.names[module]}.{CALLS}.{number}".lstrip("."), call))
            if func is ATTENTION and joins(call.given):
                return attended(call.given)
        return func(*args, **kwargs)

    def _count(self, frame: Any) -> int:
        self._frames.append(frame)
        self._counts[id(frame)] = self._counts.get(id(frame), -1) + 1
        return self._counts[id(frame)]

    def _site(self, name: str, call: Call) -> Site:
        site = self.made.get(name)
        if site is None or type(site) is not FUNCTIONS[call.function]:
            site = self.made[name] = call.site()
            self._bind(site, name)
        if site.p != call.p:
            site.p = call.p
        return site


def _norm(mode: Intercepted, func: Any, args: Any, kwargs: Any) -> Any:
    args, kwargs = as_in_eval(func, args, kwargs)
    return (normed if func is F.batch_norm else func)(*args, **kwargs)


def _serve(mode: Intercepted, func: Any, args: Any, kwargs: Any) -> Any:
    return mode.state.serve(func, args, kwargs)


RULES: Rules = dict.fromkeys(STATISTICS, _norm) | dict.fromkeys(FUNCTIONS, _serve)
