"""The result of `exact`: four averages of the same sub-networks side by side, as a table and as a picture."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thinnet.inference.exact.subnetworks import Use

if TYPE_CHECKING:
    from thinnet.inference.monte_carlo.prediction import Prediction

HEAD = ("average", "passes", "mean |difference|", "largest", "KL from exact", "other class")


@dataclass(frozen=True, eq=False)
class Averages:
    """Averages over the sub-networks of a model: probabilities where it returns logits, values else; in float64.

    Args:
        uses: the sites in the order in which they are used, with the shape of their coins and their rates.
        mean: the exact arithmetic mean, `(B, ...)`: what the ensemble of all sub-networks predicts.
        std: the exact standard deviation among the sub-networks, `(B, ...)`.
        geometric: the exact geometric mean, normalised; None for values.
        weight_scaled: the one pass with dropout off.
        monte_carlo: the sample that was drawn, with its draws.
        probabilities: of each sub-network, `(2^n,)`; they add up to 1.
        outputs: of each sub-network as the model gives them, `(2^n, B, ...)`; None where that would be more than 2^27 numbers.
    """

    uses: tuple[Use, ...]
    mean: Tensor
    std: Tensor
    geometric: Tensor | None
    weight_scaled: Tensor
    monte_carlo: "Prediction"
    probabilities: Tensor = field(repr=False)
    outputs: Tensor | None = field(repr=False)

    @property
    def coins(self) -> int:
        """The n of 2^n."""
        return sum(use.coins for use in self.uses)

    @property
    def sampled(self) -> Tensor:
        """The Monte-Carlo average, in float64."""
        return self._of_draws().mean(0)

    @property
    def error(self) -> Tensor:
        """The standard error that the Monte-Carlo average has: the exact deviation by the root of the number of draws."""
        return self.std / len(self.monte_carlo.draws) ** 0.5

    def masks(self, site: int = 0) -> Tensor:
        """Returns the coins of one use of a site in each sub-network, `(2^n, *units)`: True is kept.

        Args:
            site: the position in `uses`.

        Raises: IndexError where there is no such use.
        """
        use = self.uses[site]
        before = sum(other.coins for other in self.uses[: range(len(self.uses))[site]])
        numbers = torch.arange(len(self.probabilities))
        bits = (numbers[:, None] >> torch.arange(before, before + use.coins)) & 1 != 0
        return bits.reshape(-1, *use.units)

    def named(self) -> dict[str, Tensor]:
        """Returns the averages by name, the exact one first."""
        averages = {"arithmetic mean": self.mean, "geometric mean": self.geometric, "weight scaling": self.weight_scaled}
        averages["Monte-Carlo"] = self.sampled
        return {name: average for name, average in averages.items() if average is not None}

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row an average: how far it is from the exact arithmetic mean, in numbers."""
        draws = len(self.monte_carlo.draws)
        passes = {"weight scaling": 1, "Monte-Carlo": draws}
        rows = []
        for name, average in self.named().items():
            apart = (average - self.mean).abs()
            row: dict[str, Any] = dict(average=name, passes=passes.get(name, len(self.probabilities)))
            row |= {"mean |difference|": float(apart.mean()), "largest": float(apart.max())}
            if self.geometric is not None:
                row["KL from exact"] = float(divergence(self.mean, average).mean())
                row["other class"] = float((average.argmax(-1) != self.mean.argmax(-1)).double().mean())
            rows.append(row)
        return rows

    def __str__(self) -> str:
        """The table."""
        sites = ", ".join(f"{use.coins} at {use.site} (p={use.p:.4g})" for use in self.uses)
        what = "probabilities" if self.geometric is not None else "values"
        lines = [f"{len(self.probabilities)} sub-networks of {self.coins} coins: {sites}; {len(self.mean)} inputs, {what}"]
        rows = self.rows()
        head = [name for name in HEAD if name in rows[0]]
        cells = [head, *([_shown(row[name]) for name in head] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        draws = len(self.monte_carlo.draws)
        lines.append(f"the Monte-Carlo average of {draws} draws has a standard error of {float(self.error.mean()):.2g}")
        return "\n".join(lines)

    def picture(self, index: int = 0, unit: int | None = None) -> Any:
        """Returns a Plotly figure: how the outputs of all sub-networks for one input are spread, with the averages marked.

        Args:
            index: of the input.
            unit: of the output; that with the largest mean if left out.

        Raises:
            ImportError: Plotly is not installed.
            ValueError: the outputs were too many to be kept.
        """
        from thinnet.inference.exact.ensemble_picture import draw

        return draw(self, index, unit)

    def _of_draws(self) -> Tensor:
        draws = self.monte_carlo.draws.double()
        return draws.softmax(-1) if self.geometric is not None else draws


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Returns KL(p || q) over the last axis, in nats.

    >>> divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
    tensor(0.)
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else f"{value:.3g}"
