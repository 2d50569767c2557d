"""The result of `thinnet.bench`: times, memory, where the time of dropout goes, and advice."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from thinnet.benchmark.step import AS_IT_IS, COMPILED, FUSED, OURS, OURS_COMPILED, THINNED, WITHOUT
from thinnet.benchmark.timing import Ratio, Times, ratio
from thinnet.models.found import DROPS, Sites
from thinnet.report.table import Table, Tabular

CALLS = {  # the changes that a user can make, the smallest one first
    OURS: "thinnet.replace(model)",
    FUSED: "thinnet.optimize(model, x)",
    COMPILED: "torch.compile(model)",
    OURS_COMPILED: "thinnet.replace(model) and then torch.compile(model)",
    THINNED: "thinnet.thin(model, x, always=True)",
}
SHARES_MASKS = " The samples of a batch then share one mask."
ENOUGH = 0.98  # less than 2 % is not worth a change


@dataclass(frozen=True)
class Variant:
    """One way to run the training step.

    Args:
        name: "as it is", "without dropout", "thinnet", "fused", "thinned", "compiled" or "thinnet, compiled".
        seconds: the median time of a step.
        ratio: its time in the time of the model as it is, with the 99 % interval.
        kept: bytes that the forward pass keeps for backward.
        peak: the most bytes of forward and backward.
    """

    name: str
    seconds: float
    ratio: Ratio
    kept: int
    peak: int

    def cells(self, unit: int) -> tuple[object, ...]:
        """Returns the row of the variant, with memory in a unit of some bytes."""
        interval = "" if self.name == AS_IT_IS else f"{self.ratio.low:.2f} to {self.ratio.high:.2f}"
        memory = (f"{size / unit:.4g}" for size in (self.kept, self.peak))
        return self.name, f"{self.seconds * 1e3:.3g}", f"{self.ratio.median:.2f}", interval, *memory


@dataclass(frozen=True, repr=False)
class Benchmark(Tabular):
    """A comparison of training steps; printed, it is a table.

    Args:
        variants: the ways that were measured, the model as it is first.
        advice: one sentence on what to change, or that nothing is worth it.
        sites: the dropout sites, with the share of a forward pass that each takes.
        rounds: how often each variant had its turn.
        notes: what was not measured, and why.
    """

    variants: tuple[Variant, ...]
    advice: str
    sites: Sites
    rounds: int
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Variant:
        return next(variant for variant in self.variants if variant.name == name)

    def tables(self) -> list[Table]:
        """Returns the table of the variants, with the advice, and the table of the sites."""
        name, unit = ("MiB", 2**20) if self.variants[0].peak > 2**20 else ("KiB", 2**10)
        head = ("step", "ms", "ratio", "99 % interval", f"{name} kept", f"{name} peak")
        rows = [variant.cells(unit) for variant in self.variants]
        costs = Table(head, rows, notes=(*self.notes, self.advice))
        dropping = [(site, place) for site, place in zip(self.sites, self.sites.places(), strict=True) if site.kind in DROPS]
        shares = [(site.name or "(the model)", place, site.p, f"{site.time:.1%}") for site, place in dropping]
        title, meaning = "dropout by site", "the share of the operations of a forward pass"
        return [costs, Table(("name", "line", "p", "time"), shares, title, meaning)] if shares else [costs]

    def json(self) -> str:
        """Returns it as JSON."""
        sites = [
            {"name": site.name, "line": site.line, "kind": site.kind, "p": site.p, "time": site.time} for site in self.sites
        ]
        rest = {"advice": self.advice, "rounds": self.rounds, "notes": self.notes, "sites": sites}
        return json.dumps({"variants": [dataclasses.asdict(variant) for variant in self.variants], **rest}, indent=1)


def advice_on(times: Times) -> str:
    """Returns what to change: the smallest change that no larger one beats.

    A change counts if the whole interval of its ratio is below 0.98.

    >>> advice_on({"as it is": [2.0] * 12, "without dropout": [1.9] * 12, "thinnet": [1.0] * 12, "compiled": [1.0] * 12})
    'thinnet.replace(model) takes 0.50 of the time of a step (99 % interval 0.50 to 0.50).'
    """
    best = AS_IT_IS
    for name in CALLS:
        if name in times and ratio(times, name, best).high < ENOUGH:
            best = name
    if best == AS_IT_IS:
        return f"No change makes a step faster by 2 % or more beyond the noise.{_price(times)}"
    gain = ratio(times, best, AS_IT_IS)
    told = f"{CALLS[best]} takes {gain.median:.2f} of the time of a step (99 % interval {gain.low:.2f} to {gain.high:.2f})."
    return told + (SHARES_MASKS if best == THINNED else "")


def _price(times: Times) -> str:
    price = ratio(times, AS_IT_IS, WITHOUT)
    return f" Dropout costs {price.median - 1:.1%} of a step without it." if price.slower else ""


def in_order(names: Sequence[str]) -> list[str]:
    """Returns the names in the order of the table."""
    return [name for name in (AS_IT_IS, WITHOUT, *CALLS) if name in names]
