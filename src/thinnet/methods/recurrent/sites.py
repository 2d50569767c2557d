"""The dropout sites inside a recurrent layer; each draws its noise for both directions at once.

Units are numbered row-major with the steps outermost, so step t has the same mask in a sequence of any length. The outputs of a
prefix equal those of the whole sequence. Both directions number steps in the order of time.
"""

import torch
from torch import Tensor

from thinnet.methods.numbers import wide
from thinnet.rng import Site, context, rates


class Inner(Site):
    """A site inside a recurrent layer."""

    field = ""

    def on(self) -> bool:
        """Returns whether it does anything."""
        return self.training and self.may_drop()

    def may_drop(self) -> bool:
        """Returns whether the rate may be above 0: compiled code and CUDA graphs read it when they run."""
        return torch.compiler.is_compiling() or self.p != 0 or context.capturing(self._device)

    def mask(self, like: Tensor, *shape: int) -> Tensor | None:
        """Returns a mask with samples in axis 0: the scale where a unit is kept, else 0; None without noise.

        It has at least float32, as a scale that is rounded to bfloat16 would bias every step.
        """
        return self.apply_noise(like.new_ones(shape, dtype=wide(like))) if self.on() else None


class Input(Inner):
    """The mask of a layer's input or output, one per sequence, or with `gates` one per gate (Gal and Ghahramani)."""

    def __init__(self, p: float, gates: int = 1) -> None:
        super().__init__(p)
        self.gates = gates

    def forward(self, input: Tensor) -> Tensor:
        """Returns `(T, B, D)`, or `(T, B, gates, D)` with a mask per gate."""
        if not self.on():
            return input
        rows = input.transpose(0, 1)
        if self.gates > 1:
            rows = rows.unsqueeze(2).expand(-1, -1, self.gates, -1)
        return self.apply_noise(rows, shared_axes=(1,)).transpose(0, 1)


class Read(Inner):
    """The mask of the last state as the gates read it, one per sequence (Gal and Ghahramani)."""

    field = "read"

    def __init__(self, p: float, size: int, gates: int = 1) -> None:
        super().__init__(p)
        self.size, self.gates = size, gates

    def forward(self, like: Tensor, directions: int) -> list[Tensor | None]:  # type: ignore[override]
        """Returns `(B, size)` or `(gates, B, size)` for each direction."""
        mask = self.mask(like, like.shape[1], directions, self.gates, self.size)
        if mask is None:
            return [None] * directions
        return [each[:, 0] if self.gates == 1 else each.transpose(0, 1) for each in mask.unbind(1)]


class Update(Inner):
    """The mask of what is written into the state, one per step or sequence (Semeniuta et al.)."""

    field = "update"

    def __init__(self, p: float, size: int, per_step: bool) -> None:
        super().__init__(p)
        self.size, self.per_step = size, per_step

    def forward(self, like: Tensor, directions: int) -> list[Tensor | None]:  # type: ignore[override]
        """Returns `(T, B, size)` for each direction."""
        steps = len(like) if self.per_step else 1
        mask = self.mask(like, like.shape[1], steps, directions, self.size)
        if mask is None:
            return [None] * directions
        return [each.transpose(0, 1).expand(len(like), -1, -1) for each in mask.unbind(2)]


class Memory(Inner):
    """The mask of a cell's memory, one per sequence (Moon et al.)."""

    field = "memory"

    def __init__(self, p: float, size: int) -> None:
        super().__init__(p)
        self.size = size

    def forward(self, like: Tensor, directions: int) -> list[Tensor | None]:  # type: ignore[override]
        """Returns `(B, size)` for each direction."""
        mask = self.mask(like, like.shape[1], directions, self.size)
        return [None] * directions if mask is None else list(mask.unbind(1))


class Zone(Inner):
    """Where the old state is copied, drawn at each step; in eval its expected share (Krueger et al.)."""

    def __init__(self, p: float, size: int, field: str) -> None:
        super().__init__(p)
        self.size, self.field = size, field

    def on(self) -> bool:
        """Returns whether it does anything, also in eval."""
        return self.may_drop()

    def forward(self, like: Tensor, directions: int) -> list[Tensor | None]:  # type: ignore[override]
        """Returns `(T, B, size)`, bool, or in eval a number, for each direction."""
        if not self.on():
            return [None] * directions
        if not self.training:
            share = (self._rate(like.device) / rates.RESOLUTION).to(wide(like))
            return [share.expand(len(like), 1, 1)] * directions
        mask = self.apply_noise(like.new_ones(like.shape[1], len(like), directions, self.size)) == 0
        return [each.transpose(0, 1) for each in mask.unbind(2)]
