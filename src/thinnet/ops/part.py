"""A part of a tensor that the ranks of a group share along one axis: where in the whole its rows are."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Order = Literal["contiguous", "zigzag"]


class Piece(NamedTuple):
    """Rows of a rank that follow each other in the whole too: from `begin` up to `end`, at the positions from `first` on."""

    begin: int
    end: int
    first: int


class Part(NamedTuple):
    """The rows that rank `rank` of `ranks` has along `axis`, as many as each other rank.

    In zigzag order, rank r of R has the pieces r and 2 R - 1 - r of 2 R.

    >>> Part(1, 0, 2, "zigzag").pieces(4)
    [Piece(begin=0, end=2, first=0), Piece(begin=2, end=4, first=6)]
    """

    axis: int
    rank: int
    ranks: int
    order: Order = "contiguous"

    def pieces(self, rows: int) -> list[Piece]:
        """Returns the pieces of `rows` rows here."""
        if self.order == "contiguous":
            return [Piece(0, rows, self.rank * rows)]
        half = rows // 2
        return [Piece(0, half, self.rank * half), Piece(half, rows, (2 * self.ranks - 1 - self.rank) * half)]

    def positions(self, rows: int, device: torch.device | None = None) -> Tensor:
        """Returns the index in the whole of each of `rows` rows here, int64."""
        return torch.cat([torch.arange(x.first, x.first + x.end - x.begin, device=device) for x in self.pieces(rows)])
