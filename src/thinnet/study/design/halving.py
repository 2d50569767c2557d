"""Successive halving: all configurations on few seeds, the better half on twice as many, and so on to three finalists.

What stays is a pure function of the plan and of finished trials, decided where every trial of a look is there. So neither the
order in which trials arrive nor an interruption changes it.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from thinnet.study.design.configuration import BASELINE, Configuration, TrialKey
from thinnet.study.design.plan import Plan

FIRST_SEEDS, FINALISTS, FEW = 3, 3, 6
"""The seeds of the first look; how many configurations reach the last one; and up to how many all do without being compared."""

Losses = Mapping[TrialKey, float]
"""The validation loss of finished trials, each at its best epoch."""


class Look(NamedTuple):
    """The configurations that are still trained, the baseline first, and the seeds of each.

    Args:
        configurations: in the order of the plan.
        seeds: the number of seeds at the end of this look.
        number: the number of the look, from 1.
    """

    configurations: tuple[Configuration, ...]
    seeds: int
    number: int

    @property
    def keys(self) -> list[TrialKey]:
        """The trials of this look and of those before, seed by seed, so that an early stop leaves whole rounds."""
        return [TrialKey(each, seed) for seed in range(self.seeds) for each in self.configurations]


def current_look(plan: Plan, losses: Losses, seeds: int) -> Look:
    """Returns the first look that is not complete, or the last one.

    Args:
        plan: the settings.
        losses: the validation loss of every finished trial.
        seeds: the number of seeds of a finalist.

    >>> plan = Plan(rates=tuple(tenths / 10 for tenths in range(1, 9)))
    >>> current_look(plan, {}, seeds=8)._replace(configurations=())
    Look(configurations=(), seeds=3, number=1)
    >>> losses = {TrialKey(each, seed): each.rate for each in plan.configurations for seed in range(3)}
    >>> [each.rate for each in current_look(plan, losses, seeds=8).configurations]
    [0.0, 0.1, 0.2, 0.3, 0.4]
    """
    left, ends = plan.configurations, _ends(plan, seeds)
    for number, end in enumerate(ends, start=1):
        look = Look(left, end, number)
        if end == ends[-1] or any(key not in losses for key in look.keys):
            return look
        left = better(left, losses, end, last=end == ends[-2])
    raise AssertionError("the last look returns")


def trials_in_all(plan: Plan, seeds: int) -> int:
    """Returns the number of trials of a whole study.

    >>> trials_in_all(Plan(rates=(0.5,)), seeds=8), trials_in_all(Plan(), seeds=8)
    (16, 56)
    """
    left, begin, total, ends = plan.configurations, 0, 0, _ends(plan, seeds)
    same = {TrialKey(each, seed): 0.0 for each in left for seed in range(seeds)}
    for end in ends:
        total, begin = total + len(left) * (end - begin), end
        left = better(left, same, end, last=end == ends[-2]) if end != ends[-1] else left
    return total


def _ends(plan: Plan, seeds: int) -> tuple[int, ...]:
    return looks(seeds) if len(plan.configurations) - 1 > FEW and not plan.full else (seeds,)


def looks(seeds: int) -> tuple[int, ...]:
    """Returns the number of seeds at the end of each look.

    >>> looks(8), looks(2), looks(24)
    ((3, 6, 8), (2,), (3, 6, 12, 24))
    """
    return (*(end for power in range(32) if (end := FIRST_SEEDS * 2**power) < seeds), seeds)


def better(left: tuple[Configuration, ...], losses: Losses, seeds: int, last: bool) -> tuple[Configuration, ...]:
    """Returns what stays: the baseline, the better half of the others, and of the rivals of one kind their better half.

    Args:
        left: what was trained.
        losses: the validation loss of every trial.
        seeds: how many seeds each has. Seeds are shared, so the mean loss ranks like the mean paired difference.
        last: whether the last look is next: three configurations and one rival of each kind stay.
    """
    groups: dict[str, list[Configuration]] = {}
    for each in left:
        if each != BASELINE:
            groups.setdefault(each.method if each.is_rival else "", []).append(each)
    stay = {BASELINE}
    for kind, group in groups.items():
        fewest = 1 if kind else FINALISTS
        number = fewest if last else max(fewest, math.ceil(len(group) / 2))
        stay |= set(sorted(group, key=lambda each: mean_loss(each, losses, seeds))[:number])
    return tuple(each for each in left if each in stay)


def mean_loss(configuration: Configuration, losses: Losses, seeds: int) -> float:
    """Returns the mean validation loss over the first seeds."""
    return float(np.mean([losses[TrialKey(configuration, seed)] for seed in range(seeds)]))
