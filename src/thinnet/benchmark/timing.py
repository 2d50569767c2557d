"""Times of several candidates that take turns, and intervals for the ratio of two of them.

Paired ratios of one round cancel most of what else happens on the machine. The interval for their median assumes nothing of
their distribution: it consists of two order statistics.
"""

import gc
import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from thinnet.report.progress import Progress

ERROR = 0.01  # of an interval
FEWEST, MOST = 10, 1000  # rounds: with 10, the extremes are a 99.8 % interval
TURN = 0.02  # seconds that one candidate runs in a row, where a call is shorter

Times = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Ratio:
    """The median of paired ratios, with its 99 % interval."""

    median: float
    low: float
    high: float

    @property
    def faster(self) -> bool:
        """Whether the numerator takes less time, beyond the noise."""
        return self.high < 1

    @property
    def slower(self) -> bool:
        """Whether the numerator takes more time, beyond the noise."""
        return self.low > 1


def in_turn(candidates: Mapping[str, Callable[[], object]], seconds: float, progress: Progress) -> Times:
    """Returns the seconds of one call of each candidate, a number a round.

    Each round shuffles the candidates. A candidate runs once untimed at its turn, so that caches hold its own data.

    Args:
        candidates: what to time; each has run before.
        seconds: how long to measure. There are at least 10 rounds.
        progress: advances by the share of the rounds that is done, in hundredths.
    """
    calls = {name: max(1, round(TURN / _timed(call, 1))) for name, call in candidates.items()}
    order, chance, times = list(candidates), random.Random(0), dict[str, list[float]]((name, []) for name in candidates)
    start, rounds, shown = time.perf_counter(), 0, 0
    collects = gc.isenabled()
    gc.disable()
    try:
        while rounds < FEWEST or (rounds < MOST and time.perf_counter() - start < seconds):
            chance.shuffle(order)
            for name in order:
                candidates[name]()
                times[name].append(_timed(candidates[name], calls[name]))
            rounds += 1
            done = min(100, round(100 * min(rounds / FEWEST, max(rounds / MOST, (time.perf_counter() - start) / seconds))))
            progress.advance(done - shown)
            shown = done
    finally:
        if collects:
            gc.enable()
    return times


def _timed(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def ratio(times: Times, name: str, to: str) -> Ratio:
    """Returns the ratio of the times of two candidates.

    >>> ratio({"a": [1.0] * 20, "b": [2.0] * 20}, "a", "b")
    Ratio(median=0.5, low=0.5, high=0.5)
    """
    ratios = sorted(one / other for one, other in zip(times[name], times[to], strict=True))
    cut = _cut(len(ratios))
    return Ratio(statistics.median(ratios), ratios[cut], ratios[-1 - cut])


def _cut(count: int) -> int:
    """Returns how many of the smallest and of the largest of `count` numbers lie outside of the interval for the median."""
    cut, below = 0, 0.5**count
    while 2 * below <= ERROR:
        cut += 1
        below += math.comb(count, cut) * 0.5**count
    return max(0, cut - 1)
