"""What `thinnet.sites` returns: one line a place that tosses coins."""

import dataclasses
import json
import math
import statistics
from dataclasses import dataclass

from thinnet.models.trace.draws import Drawn

Z = 2.576  # the 99 % interval of a measured rate
STUDENT = 3.5  # and the same for the mean of eight draws


@dataclass(frozen=True)
class FoundSite:
    """One place that tosses coins: a module path and the line that calls, as often as it may be called.

    Args:
        name: the path of the innermost module that ran.
        line: `file:line` of the nearest code that is neither PyTorch's nor thinnet's; None where there is none.
        kind: what the randomness does: "dropout", "multiplicative noise", "dropped keys", "subset", "decision",
            "additive noise" (a sample of a distribution, which is no dropout), "no use"; or, of places that modules
            declare and where nothing was drawn, "silent" and "not reached".
        op: the operation that drew.
        grain: the axes of the data that share a coin, in words.
        p: the nominal rate of dropping, as far as the operations or the module say it.
        measured: the fraction of dropped units that was counted; None where nothing can be dropped.
        interval: of the measured rate, at 99 %.
        scale: what kept units are multiplied by, where it is one number.
        on_in_train, on_in_eval: whether it drew in training mode, and in evaluation mode, and what it drew was used.
        switch: who turns it off: "its module's mode", "another mode", or "nobody" where it is on in eval.
        draws: how many draws a pass made.
        reached: the share of training passes that came by.
        time: its share of the time that the operations of a training pass took, forward: drawing, and making a mask of it.
        memory: its share of the bytes that the operations of a training pass made, forward: what it drew.
        target: what the noise met: "activations", "weights", or the "input" of the model.
        after: the operation that made what it met.
        follows: whether it met what another site had made, with nothing in between.
        at_output: whether what it made is what the model returns.
        feeds: how many outputs the model's last layer has, if that reads what it made; else 0.
        effect: whether the output of a training pass depends on it; None where that cannot be tried.
        note: what a reader should know beside.
    """

    name: str
    line: str | None
    kind: str
    op: str
    grain: str
    p: float | None
    measured: float | None
    interval: tuple[float, float] | None
    scale: float | None
    on_in_train: bool
    on_in_eval: bool
    switch: str
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


class Sites(tuple[FoundSite, ...]):
    """The sites of a model, in the order in which they were met."""

    unseen: tuple[str, ...] = ()

    def json(self) -> str:
        """Returns them as JSON: a list of objects, and what could not be seen."""
        return json.dumps({"sites": [dataclasses.asdict(site) for site in self], "unseen": self.unseen}, indent=1)

    def __str__(self) -> str:
        from thinnet.models.table import plain

        return plain(self)


def grain(event: Drawn) -> str:
    """Returns the grain of a draw in words.

    >>> grain(Drawn("bernoulli", (4, 1, 1), shared=(1, 2), axes=3))
    'one coin along axes 1, 2 of 3'
    """
    if not event.axes:
        return "unknown"
    if not event.shared:
        return "element"
    return f"one coin along {'axes' if len(event.shared) > 1 else 'axis'} {', '.join(map(str, event.shared))} of {event.axes}"


def interval(shares: list[float], units: list[int]) -> tuple[float, float]:
    """Returns the interval of a rate at 99 % from the dropped shares of several draws, each of many units.

    It is that of independent coins, or, where the draws differ more than such coins would, as those of blocks do, that of the
    mean of the draws (Student).
    """
    count = sum(units)
    share = sum(part * size for part, size in zip(shares, units, strict=True)) / count
    low, high = wilson(share, count)
    if len(shares) >= 4:
        half = STUDENT * statistics.stdev(shares) / math.sqrt(len(shares))
        low, high = min(low, share - half), max(high, share + half)
    return max(0.0, low), min(1.0, high)


def wilson(share: float, count: int) -> tuple[float, float]:
    """Returns the interval of a share of `count` independent coins at 99 % (Wilson 1927).

    >>> [round(end, 3) for end in wilson(0.5, 1000)]
    [0.459, 0.541]
    """
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)
