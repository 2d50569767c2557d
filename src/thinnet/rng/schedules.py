"""Rate schedules: the rate as a function of the step. Each is a frozen dataclass, checked when it is made."""

import math
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Schedule:
    """The rate as a function of the step. A subclass is a frozen dataclass of numbers with a `__call__`."""

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        raise NotImplementedError

    def of(self, index: int, count: int) -> "Schedule":
        """Returns the schedule of site `index` of the `count` that a pattern matches: the same for all by default."""
        return self

    def plain(self) -> dict[str, Any]:
        """Returns the schedule as data that JSON can hold."""
        return {"kind": type(self).__name__} | {field.name: _plain(getattr(self, field.name)) for field in fields(self)}

    def _rate(self, argument: str, p: object) -> None:
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(
                f"{self._function}: {argument} must be a number in [0, 1]; got {p!r}. It is the probability of dropping."
            )

    def _steps(self, argument: str, steps: object, least: int = 1) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < least:
            rule = f"an integer of at least {least}"
            raise ValueError(f"{self._function}: {argument} must be {rule}; got {steps!r}. It counts optimisation steps.")

    @property
    def _function(self) -> str:
        return type(self).__name__


def _plain(value: Any) -> Any:
    if isinstance(value, Schedule):
        return value.plain()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Constant(Schedule):
    """p(t) = p.

    >>> Constant(0.1)(10)
    0.1
    """

    p: float

    def __post_init__(self) -> None:
        self._rate("p", self.p)

    def __call__(self, step: int) -> float:
        """Returns the rate."""
        return self.p


@dataclass(frozen=True)
class Linear(Schedule):
    """p(t) = start + (stop - start) min(t / steps, 1).

    Source: the schedule of DropBlock (Ghiasi et al. 2018, arXiv:1810.12890) and, times the depth, of ScheduledDropPath (Zoph
    et al. 2018, arXiv:1707.07012).

    >>> Linear(0.0, 0.1, steps=1000)(500)
    0.05
    """

    start: float
    stop: float
    steps: int

    def __post_init__(self) -> None:
        self._rate("start", self.start)
        self._rate("stop", self.stop)
        self._steps("steps", self.steps)

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.stop if step >= self.steps else self.start + (self.stop - self.start) * (step / self.steps)


@dataclass(frozen=True)
class Cosine(Linear):
    """p(t) = stop + (start - stop) (1 + cos(pi min(t / steps, 1))) / 2.

    Source: the form of Loshchilov & Hutter 2017, arXiv:1608.03983 (there for the learning rate).

    >>> round(Cosine(0.0, 0.1, steps=1000)(500), 6)
    0.05
    """

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.stop + (self.start - self.stop) * (1 + math.cos(math.pi * min(step / self.steps, 1))) / 2


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Straight lines through points `(step, rate)`, constant before the first and after the last; two at one step are a jump.

    DropHead's V (Zhou et al. 2020, arXiv:2004.13342) is `Piecewise(((0, p), (T // 2, 0.0), (T, p)))`.

    >>> [Piecewise(((10, 0.0), (20, 0.5), (20, 0.25)))(step) for step in (0, 15, 20, 99)]
    [0.0, 0.25, 0.25, 0.25]
    """

    points: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not isinstance(self.points, tuple) or not self.points or any(len(point) != 2 for point in self.points):
            raise ValueError(f"Piecewise: points must be pairs (step, rate), in a tuple; got {self.points!r}.")
        for step, p in self.points:
            self._steps("the step of a point", step, least=0)
            self._rate("the rate of a point", p)
        if list(self.points) != sorted(self.points, key=lambda point: point[0]):
            raise ValueError(f"Piecewise: points must be in the order of their steps; got {self.points!r}.")

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        before = [point for point in self.points if point[0] <= step]
        after = [point for point in self.points if point[0] > step]
        if not before or not after:
            return (before or after)[-1 if before else 0][1]
        (first, start), (last, stop) = before[-1], after[0]
        return start + (stop - start) * ((step - first) / (last - first))


@dataclass(frozen=True)
class Early(Schedule):
    """Early dropout, against underfitting: p(t) = p (1 - t / cutoff) below the cutoff, or p if not `linear`; 0 from there on.

    Source: Liu et al. 2023, arXiv:2303.01500; cutoff at a sixth of the training.

    >>> [Early(0.5, cutoff=50)(step) for step in (0, 25, 50)]
    [0.5, 0.25, 0.0]
    """

    p: float
    cutoff: int
    linear: bool = True

    def __post_init__(self) -> None:
        self._rate("p", self.p)
        self._steps("cutoff", self.cutoff)

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return 0.0 if step >= self.cutoff else self.p * (1 - step / self.cutoff) if self.linear else self.p


@dataclass(frozen=True)
class Late(Schedule):
    """Late dropout, against overfitting: p(t) = 0 below the cutoff, p from there on.

    Source: Liu et al. 2023, arXiv:2303.01500.

    >>> [Late(0.4, cutoff=50)(step) for step in (0, 49, 50)]
    [0.0, 0.0, 0.4]
    """

    p: float
    cutoff: int

    def __post_init__(self) -> None:
        self._rate("p", self.p)
        self._steps("cutoff", self.cutoff)

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.p if step >= self.cutoff else 0.0


@dataclass(frozen=True)
class Curriculum(Schedule):
    """Curriculum dropout, from nothing to p: p(t) = p (1 - exp(-gamma t)). A gamma of 10 / T ends at p after T steps.

    Source: Morerio et al. 2017, arXiv:1703.06229, whose keep rate is (1 - q) exp(-gamma t) + q with q = 1 - p.

    >>> [round(Curriculum(0.5, gamma=0.01)(step), 3) for step in (0, 100, 1000)]
    [0.0, 0.316, 0.5]
    """

    p: float
    gamma: float

    def __post_init__(self) -> None:
        self._rate("p", self.p)
        if isinstance(self.gamma, bool) or not isinstance(self.gamma, (int, float)) or not 0 < self.gamma < math.inf:
            raise ValueError(f"Curriculum: gamma must be a number above 0; got {self.gamma!r}. Start with 10 / steps.")

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return -self.p * math.expm1(-self.gamma * step)


@dataclass(frozen=True)
class _ToZero(Schedule):
    """From p to about nothing in `steps` steps."""

    p: float
    steps: int

    def __post_init__(self) -> None:
        self._rate("p", self.p)
        self._steps("steps", self.steps)


@dataclass(frozen=True)
class Annealed(_ToZero):
    """Annealed dropout, from p to nothing: p(t) = p max(0, 1 - t / steps).

    Source: Rennie, Goel, Thomas 2014, "Annealed dropout training of deep networks" (IEEE SLT).

    >>> [Annealed(0.5, steps=100)(step) for step in (0, 50, 100)]
    [0.5, 0.25, 0.0]
    """

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.p * max(0.0, 1 - step / self.steps)


@dataclass(frozen=True)
class FlatCos(_ToZero):
    """p in the first half of the run, then a cosine to nothing: p(t) = p (1 + cos(pi max(0, 2 t / steps - 1))) / 2.

    Source: the flat_cos schedule of RealMLP (Holzmueller et al. 2024, arXiv:2407.04491).

    >>> [round(FlatCos(0.5, steps=100)(step), 3) for step in (0, 50, 75, 100)]
    [0.5, 0.5, 0.25, 0.0]
    """

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.p * (1 + math.cos(math.pi * max(0.0, min(2 * step / self.steps, 2.0) - 1))) / 2


@dataclass(frozen=True)
class Expm4t(_ToZero):
    """p(t) = p exp(-4 t / steps).

    Source: the expm4t schedule of RealMLP (Holzmueller et al. 2024, arXiv:2407.04491).

    >>> [round(Expm4t(0.5, steps=100)(step), 3) for step in (0, 50, 100)]
    [0.5, 0.068, 0.009]
    """

    def __call__(self, step: int) -> float:
        """Returns the rate at a step."""
        return self.p * math.exp(-4 * step / self.steps)
