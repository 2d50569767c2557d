"""A coin's name: seed, site, step, sample and unit. `Coins` binds a model to names and says where its run is."""

import zlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from thinnet import calls, places, rates
from thinnet.ops import reference
from thinnet.site import Clock, Site

IDS = 1 << 32


def site_number(name: str) -> int:
    """Returns the 32-bit number of a site's name: the CRC-32 of its UTF-8 bytes, the same on every machine.

    >>> site_number("encoder.3")
    4119366531
    """
    return zlib.crc32(name.encode())


class Coins:
    """Names every coin of a model: a pure function of seed, site, step, sample and unit.

    The same name gives the same coin on any device, dtype, thread count, batch split and number of ranks, and in resumed,
    checkpointed and compiled runs.

    Args:
        seed: 64 bits, 0 .. 2^64 - 1.

    >>> import thinnet
    >>> model = nn.Sequential(nn.Linear(4, 4), thinnet.nn.Dropout(0.5))
    >>> coins = Coins(seed=0).bind(model)
    >>> _ = coins.at(step=7, samples=torch.tensor([30, 10, 20]))
    >>> kept = model(torch.randn(3, 4)) != 0
    >>> bool((kept == coins.mask("1", step=7, samples=[30, 10, 20], shape=(4,))).all())
    True
    """

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
            raise ValueError(f"Coins: seed must be an integer in 0 .. 2^64 - 1; got {seed!r}.")
        self.clock = Clock(seed)
        self.sites: dict[str, Site] = {}
        self._hooks: list[Any] = []

    @property
    def seed(self) -> int:
        """The 64 bits that all coins depend on."""
        return self.clock.seed

    @property
    def step(self) -> int | None:
        """The optimisation step that the next forward pass belongs to; None before the first `at`."""
        return self.clock.step

    def bind(self, model: nn.Module) -> "Coins":
        """Gives every site of the model its module path as a name; returns self.

        What wraps a model leaves no trace in its names: DDP, `torch.compile`, and the wrappers of checkpointing and FSDP.

        Raises:
            ValueError: the model has no site, a site is bound already, or two names have the same 32-bit number.
        """
        root = _unwrap(model)
        found = {_plain(name): module for name, module in root.named_modules() if isinstance(module, Site)}
        if not found:
            raise ValueError("Coins.bind: the model has no site of thinnet. Replace its dropout by thinnet.nn first.")
        numbers: dict[int, str] = {site_number(name): name for name in self.sites}
        for name, site in found.items():
            if site.clock is not None:
                raise ValueError(f"Coins.bind: site {name!r} is bound already. Call unbind() on its coins first.")
            if name in self.sites:
                raise ValueError(f"Coins.bind: these coins have a site {name!r} already. Bind both as parts of one model.")
            other = numbers.setdefault(site_number(name), name)
            if other != name:
                raise ValueError(f"Coins.bind: sites {other!r} and {name!r} have the same number. Rename one of them.")
        for name, site in found.items():
            site.clock, site.name = self.clock, name
            site.site = torch.tensor(site_number(name), device=site.rate.device)
            self.clock.tensors(site.rate.device)
        self.sites |= found
        counter = self.clock.calls
        counter.sites = list(self.sites.values())
        self._hooks.append(root.register_forward_pre_hook(counter.begin, prepend=True))
        self._hooks.append(root.register_forward_hook(counter.end, always_call=True))
        return self

    def unbind(self) -> None:
        """Takes the names away; the sites draw their seeds from torch's generator again."""
        for hook in self._hooks:
            hook.remove()
        for site in self.sites.values():
            site.clock = site.name = site.site = None
            site.calls = 0
        self.sites, self._hooks, self.clock.calls.sites = {}, [], []

    def at(self, step: int, samples: Tensor | Iterable[int] | int | None = None) -> "Coins":
        """Says where the next forward passes are; returns self.

        Args:
            step: the optimisation step, 0 .. 2^32 - 1.
            samples: the ids of the batch's cases in their data set, 0 .. 2^32 - 1, one for each row of axis 0; or the id of
                the first, from which the rows count on. The row number where it is left out.

        Raises:
            ValueError: a step or an id that does not fit in 32 bits, or ids that are no list of integers.
        """
        _check_number("Coins.at", "step", step)
        self.clock.at(step, None if samples is None else _check_samples("Coins.at", samples))
        return self

    def advance(self, samples: Tensor | Iterable[int] | int | None = None) -> "Coins":
        """Goes to the next step, or to step 0 at first; returns self."""
        return self.at(0 if self.step is None else self.step + 1, samples)

    def view(self, view: int) -> calls.Viewed:
        """Returns a context with other coins: another view of the same samples, as R-Drop takes two. Outside it is view 0.

        Source: Wu et al. 2021, arXiv:2106.14448 (R-Drop).

        >>> import thinnet
        >>> layer, x = thinnet.nn.Dropout(0.5), torch.ones(1, 8)
        >>> coins = Coins(seed=0).bind(layer).at(0)
        >>> one = layer(x)
        >>> with coins.view(1):
        ...     other = layer(x)
        >>> torch.equal(layer(x), one), torch.equal(other, one)
        (True, False)
        """
        return calls.Viewed(self.clock.calls, _check_number("Coins.view", "view", view))

    def call(self, call: int) -> calls.Pinned:
        """Returns a context in which each toss is use number `call` of its site, whatever was counted."""
        return calls.Pinned(self.clock.calls, _check_number("Coins.call", "call", call))

    def forward(self) -> calls.Running:
        """Returns a context that counts as one forward pass: for a training step that calls the parts of the bound model."""
        return calls.Running(self.clock.calls)

    def recompute(self) -> tuple[Any, Any]:
        """Makes a checkpointed part toss the coins of its own forward pass: `checkpoint(f, x, context_fn=coins.recompute)`.

        It is needed where backward comes after the next `at` or outside of the view, or where the part uses a shared module.
        """
        return places.recomputation(self.clock)

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
            view: the view, as in `coins.view(view)`.

        Returns: `(len(samples), *shape)`.
        """
        if site not in self.sites:
            raise KeyError(f"Coins.mask: site must be one of {sorted(self.sites)}; got {site!r}.")
        ids = _check_samples("Coins.mask", samples)
        assert isinstance(ids, Tensor)
        clock = Clock(self.seed)
        clock.at(_check_number("Coins.mask", "step", step), ids)
        seed, now, ids = clock.tensors(torch.device("cpu"))
        seed = seed ^ calls.mix(_check_number("Coins.mask", "call", call))
        seed = seed ^ calls.mix(_check_number("Coins.mask", "view", view) << 32)
        count = torch.Size(shape).numel()
        drawn = reference.coins(seed, now, torch.tensor(site_number(site)), ids, count)
        return (drawn >= rates.count(self.sites[site].p)).reshape(len(ids), *shape)

    def state_dict(self) -> dict[str, Any]:
        """Returns seed, step, and the name and rate of every site."""
        return {"seed": self.seed, "step": self.step, "sites": {name: site.p for name, site in self.sites.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the saved run was; the samples come with the next `at`.

        Raises:
            ValueError: the saved sites or rates are not those of this model; nothing is changed then.
        """
        here = {name: site.p for name, site in self.sites.items()}
        saved = state["sites"]
        wrong = [f"{name!r} is saved but not here" for name in saved.keys() - here.keys()]
        wrong += [f"{name!r} is here but not saved" for name in here.keys() - saved.keys()]
        shared = sorted(here.keys() & saved.keys())
        wrong += [f"{name!r} has rate {here[name]}, saved {saved[name]}" for name in shared if here[name] != saved[name]]
        if wrong:
            raise ValueError(f"Coins.load_state_dict: sites and rates must be those saved; {'; '.join(sorted(wrong))}.")
        self.clock.seed = state["seed"]
        self.clock.at(state["step"], None)


WRAPPERS = {"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"}


def _unwrap(model: nn.Module) -> nn.Module:
    """Returns the model itself, out of data parallelism and `torch.compile`."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        else:
            return model


def _plain(name: str) -> str:
    """Returns a module path without the wrappers in it.

    >>> _plain("blocks.0._orig_mod.drop")
    'blocks.0.drop'
    """
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _check_number(function: str, argument: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < IDS:
        raise ValueError(f"{function}: {argument} must be an integer in 0 .. 2^32 - 1; got {value!r}.")
    return value


def _check_samples(function: str, samples: Tensor | Iterable[int] | int) -> Tensor | int:
    """Returns ids as a 1-d int64 tensor, or a first id as it is."""
    rule = f"{function}: samples must be integers in 0 .. 2^32 - 1, one a row"
    if isinstance(samples, int) and not isinstance(samples, bool):
        if not 0 <= samples < IDS:
            raise ValueError(f"{rule}; got {samples}.")
        return samples
    ids = samples if isinstance(samples, Tensor) else torch.tensor(list(samples))  # type: ignore[arg-type]
    if ids.ndim != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{rule}; got a tensor of {ids.dtype} and shape {tuple(ids.shape)}.")
    ids = ids.to(torch.int64)
    if ids.device.type == "cpu" and ids.numel() and not (0 <= int(ids.min()) and int(ids.max()) < IDS):
        raise ValueError(f"{rule}; got ids from {int(ids.min())} to {int(ids.max())}.")
    return ids
