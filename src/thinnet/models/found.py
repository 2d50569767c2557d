"""The result of `thinnet.sites`: one record for each dropout site."""

import dataclasses
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from thinnet.report.intervals import wilson
from thinnet.report.table import Table, Tabular

DROPS = ("dropout", "multiplicative noise", "dropped keys", "subset", "decision")  # kinds that may be dropout
Z = 2.576  # the 99 % interval of a measured rate
STUDENT = 3.5  # and the same for the mean of eight draws


@dataclass(frozen=True)
class FoundSite:
    """One dropout site: a module path and the chain of calling lines, however often it runs.

    Args:
        name: the path of the innermost module that ran.
        line: `file:line` of the nearest code that is neither PyTorch's nor thinnet's; None where there is none.
        kind: what the randomness does: "dropout", "multiplicative noise", "dropped keys", "subset" or "decision". What is no
            dropout: "additive noise" (a sample of a distribution), "random projection", "masking" (a subset that the model
            returns or restores, as masked autoencoders do), "choice" (a random number or order that Python reads), "reseeding"
            (of a global generator), or "no use". Where a rate is declared and nothing was drawn with it: "silent",
            "not reached" or "not applied".
        op: the operation that drew.
        shared_axes: the axes of the data along which all elements share one mask value; () where each element has its own;
            None where that is unknown.
        axes: how many axes the data has.
        p: the nominal drop rate, where the operations or the module state it.
        measured: the counted fraction of dropped units; None where nothing can be dropped.
        interval: the 99 % interval of the measured rate.
        scale: the factor of kept units, where it is one number.
        mean: the mean of the numbers that multiply; of a mask, the factor of kept units times the nominal rate of kept units.
        self_scaled: whether the factor of kept units is made of the mask, so that it corrects for what each draw dropped.
        on_in_train, on_in_eval: whether it draws in that mode, and the numbers are used.
        turned_off_by: "module mode", the mode of its own module; "another mode"; "never", where it is on in eval; or "unknown".
        draws: how many draws a pass makes.
        reached: the share of training passes that reach it.
        time: its share of the time of all operations of a training forward pass: drawing, and making a mask.
        memory: its share of the bytes that these operations allocate: what it draws.
        target: what the noise meets: "activations", "weights", or the "input" of the model.
        after: the operation that makes what it meets.
        follows: whether it meets the result of another site, with nothing in between.
        at_output: whether the model returns what it makes.
        feeds: how many outputs the model's last layer has, if that layer reads what it makes; else 0.
        effect: whether the output of a training pass depends on it; None where that cannot be tried.
        note: a remark for the reader.
        calls: the lines of the model's code that call `line`, from the nearest one outwards.
    """

    name: str
    line: str | None
    kind: str
    op: str
    shared_axes: tuple[int, ...] | None
    axes: int
    p: float | None
    measured: float | None
    interval: tuple[float, float] | None
    scale: float | None
    on_in_train: bool
    on_in_eval: bool
    turned_off_by: str
    draws: float
    reached: float
    time: float
    memory: float
    target: str = "activations"
    after: str = ""
    follows: bool = False
    at_output: bool = False
    feeds: int = 0
    effect: bool | None = None
    mean: float | None = None
    self_scaled: bool = False
    note: str = ""
    calls: tuple[str, ...] = ()

    @property
    def address(self) -> tuple[str, tuple[str, ...]]:
        """The path of the module and the chain of calling lines."""
        return self.name, () if self.line is None else (self.line, *self.calls)

    @property
    def is_random(self) -> bool:
        """Whether it draws numbers, in any mode, that are used."""
        return (self.on_in_train or self.on_in_eval) and self.kind != "reseeding"

    @property
    def sharing(self) -> str:
        """The shared axes in words: "none", "axes 1, 2 of 3", or "unknown"."""
        if self.shared_axes is None:
            return "unknown"
        if not self.shared_axes:
            return "none"
        return f"{'axes' if len(self.shared_axes) > 1 else 'axis'} {', '.join(map(str, self.shared_axes))} of {self.axes}"

    @property
    def place(self) -> str:
        """The file name and the line, without the folders."""
        return "" if self.line is None else Path(self.line).name

    def cells(self, place: str) -> tuple[object, ...]:
        """Returns the row of the site in the table of all sites, with its place in words."""
        measured = "" if self.measured is None else f"{self.measured:.3f}"
        if self.interval is not None:
            measured += f" ±{(self.interval[1] - self.interval[0]) / 2:.3f}"
        modes = ", ".join(mode for mode, is_on in (("train", self.on_in_train), ("eval", self.on_in_eval)) if is_on)
        if self.turned_off_by == "another mode":
            modes += ", by the mode of another module"
        kind = self.kind + (", no effect" if self.effect is False else "") + (f", {self.note}" if self.note else "")
        return self.name or "(the model)", place, kind, self.p, measured, modes, self.sharing


class Sites(Tabular, tuple[FoundSite, ...]):
    """The sites of a model, in the order in which they ran; `unseen` lists what the passes may have missed."""

    unseen: tuple[str, ...] = ()

    def json(self) -> str:
        """Returns them as JSON: a list of objects, and what the passes may have missed."""
        return json.dumps({"sites": [dataclasses.asdict(site) for site in self], "unseen": self.unseen}, indent=1)

    def places(self) -> list[str]:
        """Returns the place of each site: file and line, and where sites share these the first calling line that differs."""
        groups: dict[tuple[str, str | None], list[FoundSite]] = {}
        for site in self:
            groups.setdefault((site.name, site.line), []).append(site)
        return [_told_apart(site, groups[site.name, site.line]) for site in self]

    def tables(self) -> list[Table]:
        """Returns one table with a row a site. Dropout that is on in eval is marked."""
        head = ("name", "line", "kind", "p", "measured", "on in", "shared axes")
        wrong = [number for number, site in enumerate(self) if site.on_in_eval and site.kind in DROPS]
        notes = [f"not seen: {what}" for what in self.unseen]
        title = "" if self else "no dropout sites"
        return [
            Table(
                head,
                [site.cells(place) for site, place in zip(self, self.places(), strict=True)],
                title,
                notes=notes,
                marks=dict.fromkeys(wrong, "alarm"),
            )
        ]


def _told_apart(site: FoundSite, group: list[FoundSite]) -> str:
    depth = next(
        (level for level in range(len(site.calls)) if len({other.calls[: level + 1] for other in group}) == len(group)), -1
    )
    return f"{site.place} from {Path(site.calls[depth]).name}" if len(group) > 1 and site.calls else site.place


def interval(shares: list[float], units: list[int]) -> tuple[float, float]:
    """Returns the 99 % interval of a rate from the dropped shares of several draws, each of many units.

    It is the interval for independent units. Where the draws differ more, as those of blocks do, it is the interval of the
    mean of the draws (Student).
    """
    count = sum(units)
    share = sum(part * size for part, size in zip(shares, units, strict=True)) / count
    low, high = wilson(share, count, Z)
    if len(shares) >= 4:
        half = STUDENT * statistics.stdev(shares) / math.sqrt(len(shares))
        low, high = min(low, share - half), max(high, share + half)
    return max(0.0, low), min(1.0, high)
