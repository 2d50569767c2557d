"""Numbers that were drawn, or made of drawn numbers and constants: what is known about their distribution."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace

from thinnet.models.trace.dispatched import Operation
from thinnet.models.trace.record import Draw

COMPARES: dict[str, Callable[[float, float], bool]] = {
    name: getattr(operator, name) for name in ("lt", "le", "gt", "ge", "eq", "ne")
}
MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "sub": "rsub", "div": "reciprocal"}  # with the number before
SAME = frozenset(  # operations that select, copy or move the numbers
    "view reshape _unsafe_view expand unsqueeze squeeze clone _to_copy to detach alias permute transpose t slice select repeat"
    " copy lift_fresh lift_fresh_copy contiguous as_strided unbind split split_with_sizes chunk narrow"
    " flip roll index index_select gather take_along_dim repeat_interleave cat stack _reshape_alias diagonal"
    " upsample_nearest1d upsample_nearest2d upsample_nearest3d".split()
)
PICKS = frozenset("index index_select gather take_along_dim index_put scatter".split())
LINEAR = SAME | frozenset("mul div sum mean matmul mm bmm cumsum neg convolution fft_r2c fft_c2r".split())
BELOW_ONE = 1 - 2**-24  # the largest uniform number in float32
SORTS = ("aten::sort", "aten::argsort", "aten::topk")


@dataclass(frozen=True)
class Noise:
    """The distribution of numbers `slope * base + shift`, where the operations state it.

    Args:
        draws: what they were drawn by.
        uniform: whether the base is uniform in [0, 1).
        chance: the probability that the base is one, if it is zero or one.
        centre: the mean of the base.
        slope, shift: of the numbers.
        restores: whether they are the inverse of a drawn permutation.
        learned: whether a parameter is a factor of theirs.
    """

    draws: tuple[Draw, ...]
    uniform: bool = False
    chance: float | None = None
    centre: float | None = None
    slope: float = 1.0
    shift: float = 0.0
    restores: bool = False
    learned: bool = False

    @property
    def mean(self) -> float | None:
        """The mean of the numbers."""
        centre = self.chance if self.chance is not None else 0.5 if self.uniform else self.centre
        return None if centre is None else self.slope * centre + self.shift

    @property
    def ends(self) -> tuple[float, float] | None:
        """The lowest and the highest number that may be drawn."""
        if self.uniform:
            return self.shift, self.shift + self.slope * BELOW_ONE
        return None if self.chance is None else (0.0, 1.0)

    def after(self, call: Operation, number: float | None, before: bool) -> "Noise":
        """Returns what an operation makes of the numbers; `number` is its constant operand, which may stand before them."""
        made = self._after(call, number, before)
        return replace(made, learned=True) if self.learned or call.data else made

    def _after(self, call: Operation, number: float | None, before: bool) -> "Noise":
        name = call.name.removeprefix("aten::")
        name = MIRRORED.get(name, name) if before else name
        if name in SAME and _only_moves(call, name):
            return self
        if name in COMPARES and number is not None:
            return self.compared(name, number)
        if name in ("logical_not", "bitwise_not"):
            return self.compared("eq", 0.0)
        if name == "floor" and self.uniform and self.slope == 1 and 0 < self.shift <= 1:
            return Noise(self.draws, chance=self.shift)
        if name == "round" and self.uniform and self.slope == 1 and -0.5 <= self.shift < 0.5:
            return Noise(self.draws, chance=0.5 + self.shift)
        moved = self._moved(name, number) if call.kwargs.get("alpha", 1) == 1 else None
        if moved is not None:
            return moved
        sorts_integers = call.name in SORTS and not call.noise[0].is_floating_point()
        centred = name in LINEAR and self.mean == 0
        return Noise(self.draws, centre=0.0 if centred else None, restores=self.restores or sorts_integers)

    def _moved(self, name: str, number: float | None) -> "Noise | None":
        if name == "neg":
            return replace(self, slope=-self.slope, shift=-self.shift)
        if number is None:
            return None
        if name == "add":
            return replace(self, shift=self.shift + number)
        if name == "sub":
            return replace(self, shift=self.shift - number)
        if name == "rsub":
            return replace(self, slope=-self.slope, shift=number - self.shift)
        if name == "mul" or (name == "div" and number):
            by = number if name == "mul" else 1 / number
            return replace(self, slope=self.slope * by, shift=self.shift * by)
        return None

    def compared(self, name: str, number: float) -> "Noise":
        """Returns the mask that a comparison with a number makes.

        >>> Noise((), uniform=True).compared("lt", 0.2).chance
        0.2
        """
        if self.uniform and self.slope and name not in ("eq", "ne"):
            below = min(max((number - self.shift) / self.slope, 0.0), 1.0)
            is_below = COMPARES[name](0.0, 1.0) == (self.slope > 0)
            return Noise(self.draws, chance=below if is_below else 1 - below)
        if self.chance is not None:
            one, zero = (COMPARES[name](self._rounded(base), number) for base in (1.0, 0.0))
            if one != zero:
                return Noise(self.draws, chance=self.chance if one else 1 - self.chance)
        return Noise(self.draws)

    def _rounded(self, base: float) -> float:
        """Returns a value of a mask; a factor in float32 has about seven digits."""
        return round(self.slope * base + self.shift, 6)


def _only_moves(call: Operation, name: str) -> bool:
    """Returns whether an operation only moves noise: nothing but noise goes in, beside places and what is written over."""
    if name in PICKS:
        return id(call.args[0]) in call.noisy
    return len(call.noise) == len(call.inputs) or (name == "copy" and id(call.args[1]) in call.noisy)


def together(parts: list[Noise]) -> Noise:
    """Returns what is known of numbers made of several: their draws, and their distribution where all have the same."""
    first = parts[0]
    if all(part == first for part in parts[1:]):
        return first
    draws = tuple({id(draw): draw for part in parts for draw in part.draws}.values())
    same = all(replace(part, draws=()) == replace(first, draws=()) for part in parts[1:])
    centred = all(part.mean == 0 for part in parts)
    restores = any(part.restores for part in parts)
    if same:
        return replace(first, draws=draws)
    learned = any(part.learned for part in parts)
    return Noise(draws, centre=0.0 if centred else None, restores=restores, learned=learned)
