"""A coin's name: seed, site, step, sample and unit. `DropoutRNG` binds a model to names and says where its run is."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.ops import reference
from thinnet.rng import calls, rates, recompute
from thinnet.rng.context import RNGContext
from thinnet.rng.names import check_number, check_samples, plain, unwrap
from thinnet.rng.names import site_number as site_number
from thinnet.rng.placing import resolve
from thinnet.rng.schedules import Schedule
from thinnet.rng.site import Site


class DropoutRNG:
    """Names every coin of a model: a pure function of seed, site, step, sample and unit.

    The same name gives the same coin on any device, dtype, thread count, batch split and number of ranks, and in resumed,
    checkpointed and compiled runs.

    Args:
        seed: 64 bits, 0 .. 2^64 - 1.
        schedules: rates that follow the step, by `fnmatch` pattern over the names of sites:
                `{"encoder.*": Linear(0.0, 0.1, steps=1000)}`.

    Raises:
        ValueError: a seed that does not fit in 64 bits.
        TypeError: `schedules` is no mapping from patterns to schedules of `thinnet.schedules`.

    >>> import thinnet
    >>> model = nn.Sequential(nn.Linear(4, 4), thinnet.nn.Dropout(0.5))
    >>> rng = DropoutRNG(seed=0).bind(model)
    >>> _ = rng.at(step=7, samples=torch.tensor([30, 10, 20]))
    >>> kept = model(torch.randn(3, 4)) != 0
    >>> bool((kept == rng.mask("1", step=7, samples=[30, 10, 20], shape=(4,))).all())
    True
    """

    def __init__(self, seed: int = 0, schedules: Mapping[str, Schedule] | None = None) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
            raise ValueError(f"DropoutRNG: seed must be an integer in 0 .. 2^64 - 1; got {seed!r}.")
        for pattern, schedule in dict(schedules or {}).items():
            if not isinstance(schedule, Schedule):
                raise TypeError(
                    f"DropoutRNG: schedules must be of thinnet.schedules; got {schedule!r} for {pattern!r}. Try Constant(p)."
                )
        self.context = RNGContext(seed)
        self.patterns = dict(schedules or {})
        self.scheduled: dict[str, Schedule] = {}
        self.sites: dict[str, Site] = {}
        self._rates: dict[str, float | None] = {}
        self._hooks: list[Any] = []

    @property
    def seed(self) -> int:
        """The 64 bits that all coins depend on."""
        return self.context.seed

    @property
    def step(self) -> int | None:
        """The optimisation step that the next forward pass belongs to; None before the first `at`."""
        return self.context.step

    def bind(self, model: nn.Module) -> "DropoutRNG":
        """Gives every site of the model its module path as a name; returns self.

        What wraps a model leaves no trace in its names: DDP, `torch.compile`, and the wrappers of checkpointing and FSDP.

        Raises:
            ValueError: the model has no site, a site is bound already, two names have the same 32-bit number, or the patterns
                of the schedules do not fit the names.
        """
        root = unwrap(model)
        found = {plain(name): module for name, module in root.named_modules() if isinstance(module, Site)}
        if not found:
            raise ValueError("DropoutRNG.bind: the model has no site of thinnet. Replace its dropout by thinnet.nn first.")
        numbers: dict[int, str] = {site_number(name): name for name in self.sites}
        for name, site in found.items():
            if site.context is not None:
                raise ValueError(f"DropoutRNG.bind: site {name!r} is bound already. Call unbind() on its coins first.")
            if name in self.sites:
                raise ValueError(f"DropoutRNG.bind: these coins have a site {name!r} already. Bind both as parts of one model.")
            other = numbers.setdefault(site_number(name), name)
            if other != name:
                raise ValueError(f"DropoutRNG.bind: sites {other!r} and {name!r} have the same number. Rename one of them.")
        scheduled = resolve(self.patterns, found)
        for name in scheduled:
            if found[name].p is None:
                raise ValueError(f"DropoutRNG.bind: site {name!r} has no one rate to schedule. Leave it out of the pattern.")
        self.scheduled |= scheduled
        for name, site in found.items():
            site.context, site.name = self.context, name
            site.site = torch.tensor(site_number(name), device=site.rate.device)
            self.context.tensors(site.rate.device)
        self.sites |= found
        self._rates |= {name: site.p for name, site in found.items()}
        counter = self.context.calls
        counter.sites = list(self.sites.values())
        self._hooks.append(root.register_forward_pre_hook(counter.begin, prepend=True))
        self._hooks.append(root.register_forward_hook(counter.end, always_call=True))
        return self

    def unbind(self) -> None:
        """Takes the names away: seeds are drawn from torch's generator again, and scheduled rates are what they were."""
        for hook in self._hooks:
            hook.remove()
        for name, site in self.sites.items():
            site.context = site.name = site.site = None
            site.calls = 0
            if name in self.scheduled:
                site.p = self._rates[name]  # type: ignore[assignment]
        self.scheduled, self._rates = {}, {}
        self.sites, self._hooks, self.context.calls.sites = {}, [], []

    def at(self, step: int, samples: Tensor | Iterable[int] | int | None = None) -> "DropoutRNG":
        """Says where the next forward passes are; returns self.

        Args:
            step: the optimisation step, 0 .. 2^32 - 1.
            samples: the ids of the batch's cases in their data set, 0 .. 2^32 - 1, one for each row of axis 0; or the id of
                the first, from which the rows count on. The row number where it is left out.

        Raises:
            ValueError: a step or an id that does not fit in 32 bits, or ids that are no list of integers.
        """
        check_number("DropoutRNG.at", "step", step)
        self.context.at(step, None if samples is None else check_samples("DropoutRNG.at", samples))
        self._set_rates()
        return self

    def _set_rates(self) -> None:
        for name, schedule in self.scheduled.items():
            site, p = self.sites[name], schedule(self.step or 0)
            if site.p != p:
                site.p = p

    def advance(self, samples: Tensor | Iterable[int] | int | None = None) -> "DropoutRNG":
        """Goes to the next step, or to step 0 at first; returns self."""
        return self.at(0 if self.step is None else self.step + 1, samples)

    def view(self, view: int) -> calls.Viewed:
        """Returns a context with other coins: another view of the same samples, as R-Drop takes two. Outside it is view 0.

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
        """Returns a context in which each toss is use number `call` of its site, whatever was counted."""
        return calls.Pinned(self.context.calls, check_number("DropoutRNG.call", "call", call))

    def forward(self) -> calls.Running:
        """Returns a context that counts as one forward pass: for a training step that calls the parts of the bound model."""
        return calls.Running(self.context.calls)

    def recompute(self) -> tuple[Any, Any]:
        """Makes a checkpointed part toss the coins of its own forward pass: `checkpoint(f, x, context_fn=rng.recompute)`.

        It is needed where backward comes after the next `at` or outside of the view, or where the part uses a shared module.
        """
        return recompute.recomputation(self.context)

    def mask(
        self,
        site: str,
        *,
        step: int,
        samples: Tensor | Iterable[int],
        shape: tuple[int, ...],
        call: int = 0,
        view: int = 0,
    ) -> Tensor:
        """Returns the mask of some samples at a site and a step, without running the model: bool, True is kept.

        Args:
            site: the name of a bound site.
            step: the step.
            samples: the ids of the samples.
            shape: the units of one sample, such as `(256,)` features, or `(64, 1, 1)` for channels.
            call: which use of the site in one forward pass, from 0.
            view: the view, as in `rng.view(view)`.

        Returns: `(len(samples), *shape)`.
        """
        if site not in self.sites:
            raise KeyError(f"DropoutRNG.mask: site must be one of {sorted(self.sites)}; got {site!r}.")
        p = self.scheduled[site](step) if site in self.scheduled else self.sites[site].p
        if p is None:
            raise ValueError(
                f"DropoutRNG.mask: site must have one rate; {site!r} has none: it is learned, or differs among units."
            )
        ids = check_samples("DropoutRNG.mask", samples)
        assert isinstance(ids, Tensor)
        context = RNGContext(self.seed)
        context.at(check_number("DropoutRNG.mask", "step", step), ids)
        seed, now, ids = context.tensors(torch.device("cpu"))
        seed = seed ^ calls.mix(check_number("DropoutRNG.mask", "call", call))
        seed = seed ^ calls.mix(check_number("DropoutRNG.mask", "view", view) << 32)
        count = torch.Size(shape).numel()
        drawn = reference.unit_bits(seed, now, torch.tensor(site_number(site)), ids, count)
        return (drawn >= rates.count(p)).reshape(len(ids), *shape)

    def state_dict(self) -> dict[str, Any]:
        """Returns seed, step, and the name and rate, or rate schedule, of every site: data that JSON can hold."""
        state: dict[str, Any] = {"seed": self.seed, "step": self.step}
        state["sites"] = {name: site.p for name, site in self.sites.items() if name not in self.scheduled}
        return state | {"schedules": {name: schedule.plain() for name, schedule in self.scheduled.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the saved run was; the samples come with the next `at`.

        Raises:
            ValueError: the saved sites, rates or schedules are not those of this model; nothing is changed then.
        """
        ours = self.state_dict()
        here, saved = ({**each["sites"], **each.get("schedules", {})} for each in (ours, state))
        wrong = [f"{name!r} is saved but not here" for name in saved.keys() - here.keys()]
        wrong += [f"{name!r} is here but not saved" for name in here.keys() - saved.keys()]
        for name in here.keys() & saved.keys():
            if here[name] != saved[name]:
                kind = "schedule" if name in self.scheduled else "rate"
                wrong.append(f"{name!r} has {kind} {here[name]}, saved {saved[name]}")
        if wrong:
            raise ValueError(f"DropoutRNG.load_state_dict: sites and rates must be those saved; {'; '.join(sorted(wrong))}.")
        self.context.seed = state["seed"]
        self.context.at(state["step"], None)
        if self.step is not None:
            self._set_rates()
