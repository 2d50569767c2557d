"""`DropoutRNG` gives every mask of a model an address: seed, site, step, sample and unit."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.rng import calls, recompute
from thinnet.rng.binding import hooks_of, release, remove_hooks
from thinnet.rng.context import RNGContext, model_context
from thinnet.rng.masks import MaskKind, drawn_mask
from thinnet.rng.names import check_module, check_number, check_samples, integer, plain, site_number, unwrap
from thinnet.rng.placing import check_schedules, resolve
from thinnet.rng.schedules import Schedule
from thinnet.rng.site import Site


class DropoutRNG:
    """Makes every mask of a model a pure function of its address: seed, site, step, sample and unit.

    The same address gives the same mask on any device, dtype, thread count, batch split and number of ranks. This also holds in
    resumed, checkpointed and compiled runs. A copy of a bound model has its own DropoutRNG, without a step; see
    `thinnet.rng_of`.

    Args:
        seed: an integer in 0 .. 2^64 - 1.
        schedules: rates that depend on the step, by `fnmatch` pattern over site names:
                `{"encoder.*": Linear(0.0, 0.1, steps=1000)}`.

    Raises:
        ValueError: `seed` does not fit in 64 bits.
        TypeError: `schedules` does not map patterns to schedules of `thinnet.schedules`.

    >>> import thinnet
    >>> model = nn.Sequential(nn.Linear(4, 4), thinnet.nn.Dropout(0.5))
    >>> rng = DropoutRNG(seed=0).bind(model)
    >>> _ = rng.at(step=7, samples=torch.tensor([30, 10, 20]))
    >>> kept = model(torch.randn(3, 4)) != 0
    >>> bool((kept == rng.mask("1", step=7, samples=[30, 10, 20], shape=(4,))).all())
    True
    """

    def __init__(self, seed: int = 0, schedules: Mapping[str, Schedule] | None = None) -> None:
        seed = check_number("DropoutRNG", "seed", seed, size=64)
        self.context = RNGContext(seed)
        self.context.rng = self
        self.patterns = check_schedules(schedules)
        self.scheduled: dict[str, Schedule] = {}
        self.sites: dict[str, Site] = {}
        self._rates: dict[str, float | None] = {}
        self._roots: dict[nn.Module, set[str]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a copy has: seed and schedules. The sites of a copied model add themselves."""
        return vars(self) | {"sites": {}, "_roots": {}}

    def __repr__(self) -> str:
        return f"DropoutRNG(seed={self.seed}, step={self.step}, sites={len(self.sites)})"

    @property
    def seed(self) -> int:
        """The 64 bits that all masks depend on."""
        return self.context.seed

    @property
    def step(self) -> int | None:
        """The optimisation step that the next forward pass belongs to; None before the first `at`."""
        return self.context.step

    def bind(self, model: nn.Module) -> "DropoutRNG":
        """Gives every site of the model an address, its module path; returns self.

        The path leaves out the wrappers of DDP, `torch.compile`, activation checkpointing and FSDP. Sites that another
        DropoutRNG has bound are taken over. Call it again after you add sites to the model.

        Raises: ValueError if the model has no site, a name is taken, two names have the same 32-bit number, or a pattern of the
            schedules matches no name.
        """
        root = unwrap(check_module("DropoutRNG.bind", model))
        found = {plain(name): module for name, module in root.named_modules() if isinstance(module, Site)}
        if not found:
            raise ValueError("DropoutRNG.bind: the model has no site of thinnet. Replace its dropout by thinnet.nn first.")
        stays = {name: site for name, site in self.sites.items() if not self._replaced(name, site, root, found)}
        self._check_names(found, stays)
        scheduled = resolve(self.patterns, found)
        for name in scheduled:
            if found[name].p is None:
                raise ValueError(f"DropoutRNG.bind: site {name!r} has no one rate to schedule. Leave it out of the pattern.")
        for site in [site for name, site in self.sites.items() if name not in stays] + [*found.values()]:
            release(site)
        self._bind(root, found, scheduled)
        return self

    def _replaced(self, name: str, site: Site, root: nn.Module, found: dict[str, Site]) -> bool:
        return name in self._roots.get(root, ()) or any(site is each for each in found.values())

    def _check_names(self, found: dict[str, Site], stays: dict[str, Site]) -> None:
        numbers: dict[int, str] = {site_number(name): name for name in stays}
        for name in found:
            if name in stays:
                raise ValueError(f"DropoutRNG.bind: this rng has a site {name!r} already. Bind both as parts of one model.")
            other = numbers.setdefault(site_number(name), name)
            if other != name:
                raise ValueError(f"DropoutRNG.bind: sites {other!r} and {name!r} have the same number. Rename one of them.")

    def _bind(self, root: nn.Module, found: dict[str, Site], scheduled: dict[str, Schedule]) -> None:
        for name, site in found.items():
            site.bind(self.context, name)
        self.sites |= found
        self.scheduled |= scheduled
        self._rates |= {name: site.p for name, site in found.items()}
        counter = self.context.calls
        counter.sites = list(self.sites.values())
        for module, other in [*hooks_of(root)]:
            if other is counter or not other.sites:
                remove_hooks(module, other)
        root.register_forward_pre_hook(counter.begin, prepend=True)
        root.register_forward_hook(counter.end, always_call=True)
        self._roots[root] = set(found)
        if self.step is not None:
            self._set_rates()

    def adopt(self, site: Site) -> None:
        """Adds a copied site, which has its name already."""
        self.sites.setdefault(site.name or "", site)
        self.context.calls.sites.append(site)

    def forget(self, name: str) -> None:
        """Removes the address of one site, and restores its rate from before `bind` if it was scheduled."""
        site = self.sites.pop(name)
        site.unbind()
        p = self._rates.pop(name, None)
        if self.scheduled.pop(name, None) is not None:
            site.p = p  # type: ignore[assignment]
        self.context.calls.sites = list(self.sites.values())
        if not self.sites:
            for root in self._roots:
                remove_hooks(root, self.context.calls)
            self._roots = {}

    def unbind(self) -> None:
        """Removes all addresses and restores scheduled rates: the model draws its seeds from torch's generator again."""
        for name in [*self.sites]:
            self.forget(name)

    def at(self, step: int, samples: Tensor | Iterable[int] | int | None = None) -> "DropoutRNG":
        """Sets the step and the sample ids of the next forward passes; returns self.

        Each thread that calls it has its own step. A thread that never called it uses the last step that any thread has set.

        Args:
            step: the optimisation step, 0 .. 2^32 - 1.
            samples: the data set id of each row of axis 0, 0 .. 2^32 - 1. An integer k stands for the ids k, k + 1, ...; by
                default the ids are the row numbers.

        Raises: ValueError if the step or an id does not fit in 32 bits, or `samples` is not a list of integers.
        """
        step = check_number("DropoutRNG.at", "step", step)
        self.context.at(step, None if samples is None else check_samples("DropoutRNG.at", samples))
        self._set_rates()
        return self

    def _set_rates(self) -> None:
        for name, schedule in self.scheduled.items():
            site, p = self.sites.get(name), schedule(self.step or 0)
            if site is not None and site.p != p:  # a copy of a part has not all sites
                site.p = p

    def advance(self, samples: Tensor | Iterable[int] | int | None = None) -> "DropoutRNG":
        """Sets the next step, or step 0 if none is set; returns self."""
        return self.at(0 if self.step is None else self.step + 1, samples)

    def view(self, view: int) -> calls.Viewed:
        """Returns a context in which the same samples have other masks, as R-Drop needs. Outside of it the view is 0.

        Source: Wu et al. 2021, arXiv:2106.14448 (R-Drop).

        >>> import thinnet
        >>> layer, x = thinnet.nn.Dropout(0.5), torch.ones(1, 8)
        >>> rng = DropoutRNG(seed=0).bind(layer).at(0)
        >>> one = layer(x)
        >>> with rng.view(1):
        ...     other = layer(x)
        >>> torch.equal(layer(x), one), torch.equal(other, one)
        (True, False)
        """
        return calls.Viewed(self.context.calls, check_number("DropoutRNG.view", "view", view))

    def call(self, call: int) -> calls.Pinned:
        """Returns a context in which each use of a site has call number `call` instead of the counted one."""
        return calls.Pinned(self.context.calls, check_number("DropoutRNG.call", "call", call))

    def forward(self) -> calls.Running:
        """Returns a context that counts as one forward pass, for training steps that call the parts of a model one by one."""
        return calls.Running(self.context.calls)

    def recompute(self) -> tuple[Any, Any]:
        """Makes activation checkpointing recompute with the masks of the forward pass: `context_fn=rng.recompute`.

        Pass it to `torch.utils.checkpoint.checkpoint` if backward runs after the next `at` or outside of the view, or if the
        checkpointed part uses a module several times.
        """
        return recompute.recomputation(self.context)

    def mask(
        self,
        site: str,
        *,
        step: int,
        samples: Tensor | Iterable[int] | int,
        shape: tuple[int, ...],
        call: int = 0,
        view: int = 0,
        kind: MaskKind = "elements",
        start: tuple[int, ...] = (0, 0, 0),
    ) -> Tensor:
        """Returns the mask of some samples at a site and a step, without running the model: bool, True is kept.

        Args:
            site: the name of a bound site.
            step: the step.
            samples: the ids of the samples, or one id.
            shape: the units of one sample, such as `(256,)` features, or `(64, 1, 1)` for channels.
            call: which use of the site in one forward pass, from 0.
            view: the view, as in `rng.view(view)`.
            kind: "attention" for weights of fused attention, of the shape `(heads, queries, keys)`.
            start: the first head, query and key of the part to return, for attention.

        Returns: `(len(samples), *shape)`.
        """
        if not isinstance(site, str) or site not in self.sites:
            raise KeyError(f"DropoutRNG.mask: site must be one of {sorted(self.sites)}; got {site!r}.")
        p = self.scheduled[site](step) if site in self.scheduled else self.sites[site].p
        if p is None:
            raise ValueError(f"DropoutRNG.mask: site must have one rate; that of {site!r} is learned or differs among units.")
        first = integer(samples)
        ids = check_samples("DropoutRNG.mask", samples if first is None else [first])
        context = RNGContext(self.seed)
        context.at(check_number("DropoutRNG.mask", "step", step), ids)
        seed, now, ids = context.tensors(torch.device("cpu"))
        seed = seed ^ calls.mix(check_number("DropoutRNG.mask", "call", call))
        seed = seed ^ calls.mix(check_number("DropoutRNG.mask", "view", view) << 32)
        return drawn_mask(kind, p, (seed, now, torch.tensor(site_number(site)), ids), shape, start)

    def state_dict(self) -> dict[str, Any]:
        """Returns seed, step, and the name and rate, or rate schedule, of every site: data that JSON can hold."""
        state: dict[str, Any] = {"seed": self.seed, "step": self.step}
        state["sites"] = {name: site.plain_rate() for name, site in self.sites.items() if name not in self.scheduled}
        return state | {"schedules": {name: schedule.plain() for name, schedule in self.scheduled.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Sets the seed and the step of the saved run. Call `at` to set the samples.

        Raises: ValueError if the saved sites, rates or schedules differ from those of this model; then nothing changes.
        """
        ours = self.state_dict()
        if not isinstance(state, Mapping) or not ours.keys() <= state.keys() | {"schedules"}:
            raise ValueError(f"DropoutRNG.load_state_dict: state must be one of state_dict(); got {state!r}.")
        here, saved = ({**each["sites"], **each.get("schedules", {})} for each in (ours, state))
        wrong = [f"{name!r} is saved but not here" for name in saved.keys() - here.keys()]
        wrong += [f"{name!r} is here but not saved" for name in here.keys() - saved.keys()]
        for name in here.keys() & saved.keys():
            if here[name] != saved[name]:
                kind = "schedule" if name in self.scheduled else "rate"
                wrong.append(f"{name!r} has {kind} {here[name]}, saved {saved[name]}")
        if wrong:
            raise ValueError(f"DropoutRNG.load_state_dict: sites and rates must be those saved; {'; '.join(sorted(wrong))}.")
        self.context.reseed(state["seed"])
        self.context.at(state["step"])
        if self.step is not None:
            self._set_rates()


def rng_of(model: nn.Module) -> DropoutRNG:
    """Returns the DropoutRNG of a bound model. A copy of a bound model (deepcopy, pickle, `torch.load`, EMA) has its own.

    Raises: ValueError if the model is not bound, or if several DropoutRNGs have bound its sites.

    >>> import copy, thinnet
    >>> model = nn.Sequential(thinnet.nn.Dropout(0.5))
    >>> rng = thinnet.DropoutRNG(seed=0).bind(model).at(3)
    >>> teacher = copy.deepcopy(model)
    >>> rng_of(model) is rng, rng_of(teacher) is rng, rng_of(teacher).step
    (True, False, None)
    >>> bool((rng_of(teacher).at(3) and teacher(torch.ones(2, 8)) == model(torch.ones(2, 8))).all())
    True
    """
    modules = check_module("rng_of", model).modules()
    contexts = [model_context(module.context) for module in modules if isinstance(module, Site)]
    found = {id(context.rng): context.rng for context in contexts if context is not None and context.rng is not None}
    if len(found) != 1:
        got = f"its sites are bound by {len(found)}" if found else "it is not bound"
        raise ValueError(f"rng_of: model must be bound by one DropoutRNG; {got}. Call DropoutRNG(seed).bind(model).")
    (rng,) = found.values()
    for module, counter in hooks_of(model):
        if counter is rng.context.calls:  # a copy does not know its root before
            rng._roots.setdefault(module, set())
    return rng
