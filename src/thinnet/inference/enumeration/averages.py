"""The result of `exact`: four averages over the same sub-networks, side by side."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from thinnet.inference.enumeration.histogram import histogram
from thinnet.inference.enumeration.subnetworks import Use, bits
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.report.figure import draw
from thinnet.report.table import Table, Tabular


@dataclass(frozen=True, eq=False, repr=False)
class Averages(Tabular):
    """Averages over the sub-networks of a model, in float64: of probabilities if the model returns logits, else of values.

    Args:
        uses: the dropout sites in order of use, with the shapes of their masks and their rates.
        mean: the exact arithmetic mean, `(B, ...)`: what the ensemble of all sub-networks predicts.
        std: the exact standard deviation among the sub-networks, `(B, ...)`.
        geometric: the exact geometric mean, normalised; None for values.
        weight_scaled: the output of a single pass with dropout off.
        monte_carlo: the Monte-Carlo samples.
        probabilities: the probability of each sub-network, `(2^n,)`; they add up to 1.
        outputs: the output of each sub-network, `(2^n, B, ...)`; None if that has more than 2^27 numbers.
    """

    uses: tuple[Use, ...]
    mean: Tensor
    std: Tensor
    geometric: Tensor | None
    weight_scaled: Tensor
    monte_carlo: Prediction
    probabilities: Tensor = field(repr=False)
    outputs: Tensor | None = field(repr=False)

    @property
    def units(self) -> int:
        """The number of dropped-or-kept units: the n of 2^n."""
        return sum(use.units for use in self.uses)

    @property
    def sampled(self) -> Tensor:
        """The Monte-Carlo average, in float64."""
        return self._draws().mean(0)

    @property
    def error(self) -> Tensor:
        """The standard error of the Monte-Carlo average: the exact deviation over the root of the number of draws."""
        return self.std / self.monte_carlo.n**0.5

    def masks(self, site: int = 0) -> Tensor:
        """Returns the mask of one use of a site in each sub-network, `(2^n, *shape)`: True is kept.

        Args:
            site: the index in `uses`.

        Raises: IndexError if there is no such use.
        """
        use = self.uses[site]
        before = sum(other.units for other in self.uses[: range(len(self.uses))[site]])
        return bits(torch.arange(len(self.probabilities)), before, use.units).reshape(-1, *use.shape)

    def by_name(self) -> dict[str, Tensor]:
        """Returns the averages by name, the exact one first."""
        averages = {"arithmetic mean": self.mean, "geometric mean": self.geometric, "weight scaling": self.weight_scaled}
        averages["Monte-Carlo"] = self.sampled
        return {name: average for name, average in averages.items() if average is not None}

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row per average: its distance from the exact arithmetic mean."""
        passes = {"weight scaling": 1, "Monte-Carlo": self.monte_carlo.n}
        rows = []
        for name, average in self.by_name().items():
            distance = (average - self.mean).abs()
            row: dict[str, Any] = dict(average=name, passes=passes.get(name, len(self.probabilities)))
            row |= {"mean |difference|": float(distance.mean()), "largest": float(distance.max())}
            if self.geometric is not None:
                row["KL from exact"] = float(divergence(self.mean, average).mean())
                row["other class"] = float((average.argmax(-1) != self.mean.argmax(-1)).double().mean())
            rows.append(row)
        return rows

    def tables(self) -> list[Table]:
        """Returns the rows as one table."""
        sites = ", ".join(f"{use.units} at {use.site} (p={use.p:.4g})" for use in self.uses)
        what = "probabilities" if self.geometric is not None else "values"
        title = f"{len(self.probabilities)} sub-networks of {self.units} units: {sites}; {len(self.mean)} inputs, {what}"
        rows = self.rows()
        error = f"the Monte-Carlo average of {self.monte_carlo.n} draws has a standard error of {float(self.error.mean()):.2g}"
        return [Table(list(rows[0]), [list(row.values()) for row in rows], title, notes=(error,))]

    def picture(self, index: int = 0, unit: int | None = None) -> Any:
        """Returns a Plotly figure: a histogram of the outputs of all sub-networks for one input, with the averages marked.

        Args:
            index: the index of the input.
            unit: the index of the output; by default the one with the largest mean.

        Raises:
            ImportError: Plotly is not installed.
            ValueError: the outputs were too many to be kept.
        """
        if self.outputs is None:
            raise ValueError("picture: outputs must have been kept; there were too many. Give exact() fewer inputs.")
        logits = self.geometric is not None
        unit = int(self.mean[index].flatten().argmax()) if unit is None else unit
        y = self.outputs[:, index].double()
        y = (y.softmax(-1) if logits else y).flatten(1)[:, unit].cpu()
        marks = {name: float(average[index].flatten()[unit]) for name, average in self.by_name().items()}
        what = f"probability of class {unit}" if logits else f"output {unit}"
        title = f"Input {index}: {what}, from all {len(y)} sub-networks"
        return draw(histogram(y, self.probabilities.cpu(), marks, what, title, bounded=logits).figure(), "Averages.picture")

    def _draws(self) -> Tensor:
        draws = self.monte_carlo.draws.double()
        return draws.softmax(-1) if self.geometric is not None else draws


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Returns KL(p || q) over the last axis, in nats.

    >>> divergence(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]))
    tensor(0.)
    """
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(-1)
