"""The result of `thinnet.sites`: one record for each dropout site."""

import dataclasses
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from thinnet.report.intervals import wilson
from thinnet.report.table import Table, Tabular

Z = 2.576  # the 99 % interval of a measured rate
STUDENT = 3.5  # and the same for the mean of eight draws


@dataclass(frozen=True)
class FoundSite:
    """One dropout site: a module path and the line of code that draws, however often it runs.

    Args:
        name: the path of the innermost module that ran.
        line: `file:line` of the nearest code that is neither PyTorch's nor thinnet's; None where there is none.
        kind: what the randomness does: "dropout", "multiplicative noise", "dropped keys", "subset", "decision",
            "additive noise" (a sample of a distribution, which is no dropout), or "no use". Where a module declares a rate and
            nothing was drawn: "silent" or "not reached".
        op: the operation that drew.
        shared_axes: the axes of the data along which all elements share one mask value; () where each element has its own;
            None where that is unknown.
        axes: how many axes the data has.
        p: the nominal drop rate, where the operations or the module state it.
        measured: the counted fraction of dropped units; None where nothing can be dropped.
        interval: the 99 % interval of the measured rate.
        scale: the factor of kept units, where it is one number.
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
    note: str = ""

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

    def cells(self) -> tuple[object, ...]:
        """Returns the row of the site in the table of all sites."""
        measured = "" if self.measured is None else f"{self.measured:.3f}"
        if self.interval is not None:
            measured += f" ±{(self.interval[1] - self.interval[0]) / 2:.3f}"
        modes = ", ".join(mode for mode, is_on in (("train", self.on_in_train), ("eval", self.on_in_eval)) if is_on)
        if self.turned_off_by == "another mode":
            modes += ", by the mode of another module"
        kind = self.kind + (", no effect" if self.effect is False else "") + (f", {self.note}" if self.note else "")
        return self.name or "(the model)", self.place, kind, self.p, measured, modes, self.sharing


class Sites(Tabular, tuple[FoundSite, ...]):
    """The sites of a model, in the order in which they ran; `unseen` lists what the passes may have missed."""

    unseen: tuple[str, ...] = ()

    def json(self) -> str:
        """Returns them as JSON: a list of objects, and what the passes may have missed."""
        return json.dumps({"sites": [dataclasses.asdict(site) for site in self], "unseen": self.unseen}, indent=1)

    def tables(self) -> list[Table]:
        """Returns one table with a row a site. Dropout that is on in eval is marked."""
        head = ("name", "line", "kind", "p", "measured", "on in", "shared axes")
        wrong = [number for number, site in enumerate(self) if site.on_in_eval and site.kind != "additive noise"]
        notes = [f"not seen: {what}" for what in self.unseen]
        title = "" if self else "no dropout sites"
        return [Table(head, [site.cells() for site in self], title, notes=notes, marks=dict.fromkeys(wrong, "alarm"))]


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
