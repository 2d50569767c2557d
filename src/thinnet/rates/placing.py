"""Which site gets which rate schedule: by pattern over the names, and by the depth among the sites of a pattern."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from thinnet.rates.schedules import Schedule


@dataclass(frozen=True)
class DepthWise(Schedule):
    """A schedule that grows over the depth: site l of the L that a pattern matches has p_l(t) = p(t) (f + (1 - f) l / (L - 1)).

    `first` is f, the share of the first site: 0 for p l / (L - 1), 1 / L for the p (l + 1) / L of stochastic depth and
    ScheduledDropPath. The last site has the whole rate.

    Source: Huang et al. 2016, arXiv:1603.09382; Zoph et al. 2018, arXiv:1707.07012.

    >>> from thinnet.rates.schedules import Constant
    >>> [DepthWise(Constant(0.2)).of(site, 3)(0) for site in range(3)]
    [0.0, 0.1, 0.2]
    """

    schedule: Schedule
    first: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise ValueError(f"DepthWise: schedule must be a schedule; got {self.schedule!r}. Constant(p) is one.")
        self._rate("first", self.first)

    def __call__(self, step: int) -> float:
        """Returns the rate of the last site at a step."""
        return self.schedule(step)

    def of(self, index: int, count: int) -> Schedule:
        """Returns the schedule of one site."""
        return Scaled(self.schedule, self.first + (1 - self.first) * index / (count - 1) if count > 1 else 1.0)


@dataclass(frozen=True)
class Scaled(Schedule):
    """A share of another schedule: what `DepthWise` gives to one site."""

    schedule: Schedule
    share: float

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.schedule(step) * self.share


def resolve(schedules: Mapping[str, Schedule], names: Iterable[str]) -> dict[str, Schedule]:
    """Returns the schedule of each site that a pattern matches, `fnmatch` over site names, in the order of the model.

    Raises:
        ValueError: a pattern that matches no site, or a site that two patterns match.
    """
    names, found, matched = list(names), dict[str, Schedule](), dict[str, str]()
    for pattern, schedule in schedules.items():
        sites = [name for name in names if fnmatchcase(name, pattern)]
        if not sites:
            raise ValueError(f"Coins.bind: pattern {pattern!r} must match a site; the sites are {names}.")
        for index, name in enumerate(sites):
            if name in matched:
                both = f"{matched[name]!r} and {pattern!r}"
                raise ValueError(
                    f"Coins.bind: a site must have one schedule; {name!r} is matched by {both}. Narrow one of them."
                )
            matched[name], found[name] = pattern, schedule.of(index, len(sites))
    return found
