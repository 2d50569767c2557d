"""Gives rate schedules to sites: by pattern over their names, and by their depth among the sites of a pattern."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from thinnet.rng.rates import check
from thinnet.rng.schedules import Constant, Schedule


@dataclass(frozen=True)
class DepthWise(Schedule):
    """A rate that grows with the depth: site l of the L sites of a pattern has p_l(t) = p(t) (f + (1 - f) l / (L - 1)).

    `first` is f, the share of the first site: 0 for p l / (L - 1), 1 / L for the p (l + 1) / L of stochastic depth and
    ScheduledDropPath. The last site has the whole rate.

    Source: Huang et al. 2016, arXiv:1603.09382; Zoph et al. 2018, arXiv:1707.07012.

    >>> from thinnet.rng.schedules import Constant
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
    """A share of another schedule, as `DepthWise` gives to one site."""

    schedule: Schedule
    share: float

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.schedule(step) * self.share


def linear_rates(p: float, depth: int, first: float = 0.0) -> list[float]:
    """Returns the rates of `depth` branches: p_l = p (first + (1 - first) l / (depth - 1)), for l from 0. The last has rate p.

    `DepthWise` gives the same rates to the sites of a pattern, and can change them with the step.

    Args:
        p: the rate of the last branch.
        depth: the number of branches.
        first: the share of the first: 0 as in timm, 1 / depth as in the paper and in Composer, 1 for the same rate everywhere.

    Raises: ValueError where `p` or `first` is not in [0, 1], or `depth` is no positive integer.

    Source: Huang et al. 2016, arXiv:1603.09382.

    >>> linear_rates(0.5, depth=3), linear_rates(0.5, depth=2, first=1 / 2)
    ([0.0, 0.25, 0.5], [0.25, 0.5])
    """
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise ValueError(f"linear_rates: depth must be a positive integer; got {depth!r}. It counts the branches.")
    schedule = DepthWise(Constant(check("linear_rates", p)), first)
    return [schedule.of(index, depth)(0) for index in range(depth)]


def check_schedules(schedules: object) -> dict[str, Schedule]:
    """Returns the schedules of `DropoutRNG` by pattern; refuses anything else."""
    if schedules is not None and not isinstance(schedules, Mapping):
        rule = "DropoutRNG: schedules must map patterns to schedules"
        raise TypeError(f"{rule}; got {schedules!r}. Try {{'*': thinnet.schedules.Constant(p)}}.")
    for pattern, schedule in dict(schedules or {}).items():
        if not isinstance(schedule, Schedule):
            rule = "DropoutRNG: schedules must be of thinnet.schedules"
            raise TypeError(f"{rule}; got {schedule!r} for {pattern!r}. Try Constant(p).")
    return dict(schedules or {})


def resolve(schedules: Mapping[str, Schedule], names: Iterable[str]) -> dict[str, Schedule]:
    """Returns the schedule of each site that a pattern matches, `fnmatch` over site names, in the order of the model.

    Raises:
        ValueError: a pattern that matches no site, or a site that two patterns match.
    """
    names, found, matched = list(names), dict[str, Schedule](), dict[str, str]()
    for pattern, schedule in schedules.items():
        sites = [name for name in names if fnmatchcase(name, pattern)]
        if not sites:
            raise ValueError(f"DropoutRNG.bind: pattern {pattern!r} must match a site; the sites are {names}.")
        for index, name in enumerate(sites):
            if name in matched:
                both = f"{matched[name]!r} and {pattern!r}"
                raise ValueError(
                    f"DropoutRNG.bind: a site must have one schedule; {name!r} is matched by {both}. Narrow one of them."
                )
            matched[name], found[name] = pattern, schedule.of(index, len(sites))
    return found
