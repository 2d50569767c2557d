"""A random number in Python that tells its draw what it is compared with."""

from typing import Any

from thinnet.models.trace.noise import Noise
from thinnet.models.trace.record import Draw
from thinnet.models.trace.uses import decides


class Drawn(float):
    """A number that was drawn. It is a `float`; a comparison with a number states the rate of a decision.

    >>> draw = Draw("random.random")
    >>> Drawn(0.5, draw, Noise((draw,), uniform=True)) < 0.2, draw.p
    (False, 0.2)
    """

    def __new__(cls, value: float, draw: Draw, noise: Noise) -> "Drawn":
        number = super().__new__(cls, value)
        number.draw, number.noise = draw, noise
        return number

    draw: Draw
    noise: Noise

    def _tell(self, name: str, other: Any) -> None:
        if self.draw.p is None and isinstance(other, (int, float)):
            decides(self.draw, self.noise.compared(name, float(other)))

    def __lt__(self, other: float) -> bool:
        self._tell("lt", other)
        return super().__lt__(other)

    def __le__(self, other: float) -> bool:
        self._tell("le", other)
        return super().__le__(other)

    def __gt__(self, other: float) -> bool:
        self._tell("gt", other)
        return super().__gt__(other)

    def __ge__(self, other: float) -> bool:
        self._tell("ge", other)
        return super().__ge__(other)

    def __reduce__(self) -> tuple[type, tuple[float]]:
        return float, (float(self),)
