"""The result of `moments`: mean and variance of the outputs, compared with Monte-Carlo draws."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments
from thinnet.report.table import Table, Tabular

HEAD = ("statistic", "propagated", "sampled", "mean |difference|", "largest", "Monte-Carlo error")


@dataclass(frozen=True, eq=False)
class Propagated(Tabular):
    """Mean and variance of outputs over all masks.

    Args:
        mean: `(B, ...)`, the mean of the outputs; logits are not softmaxed.
        variance: `(B, ...)`.
        kind: "logits" or "values".
        sampled: the draws for the comparison, or None.

    >>> import torch
    >>> print(Propagated(torch.zeros(1, 1), torch.ones(1, 1), "values", None).std)
    tensor([[1.]])
    """

    mean: Tensor
    variance: Tensor
    kind: str
    sampled: Prediction | None

    @property
    def std(self) -> Tensor:
        """The standard deviation, `(B, ...)`."""
        return self.variance.sqrt()

    @property
    def probabilities(self) -> Tensor:
        """The mean probabilities of Gaussian logits with these moments, `(B, ..., classes)`.

        Raises: ValueError for values.
        """
        if self.kind != "logits":
            raise ValueError("Propagated: kind must be 'logits' for probabilities; got 'values'. Use mean and std.")
        return moments.softmax(Moments(self.mean, self.variance)).mean

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row per quantity: its mean size by both methods, their difference, and the Monte-Carlo error.

        Raises: ValueError without draws to compare with.
        """
        if self.sampled is None:
            raise ValueError("Propagated.rows: there must be draws to compare with; got n=None. Call moments(model, x, n=200).")
        draws = self.sampled.draws.double()
        n, mean, std = len(draws), draws.mean(0), draws.std(0)
        fourth = (draws - mean).pow(4).mean(0)
        spread = ((fourth - std.pow(4)).clamp_min(0) / n).sqrt() / (2 * std.clamp_min(1e-300))
        rows = [_row("mean", self.mean, mean, std / n**0.5), _row("std", self.std, std, spread)]
        if self.kind == "logits":
            p = draws.softmax(-1)
            rows.append(_row("probability", self.probabilities, p.mean(0), p.std(0) / n**0.5))
        return rows

    def tables(self) -> list[Table]:
        """Returns the comparison with sampling as one table."""
        title = f"moments of {len(self.mean)} predictions ({self.kind}) in one pass"
        if self.sampled is None:
            return [Table((), [], f"{title}: mean std {float(self.std.mean()):.3g}; not compared with draws")]
        rows = [list(row.values()) for row in self.rows()]
        return [Table(HEAD, rows, title, f"compared with {self.sampled.n} draws; means of absolute values")]


def _row(name: str, propagated: Tensor, sampled: Tensor, error: Tensor) -> dict[str, Any]:
    difference = (propagated.double() - sampled).abs()
    numbers = (propagated.abs().mean(), sampled.abs().mean(), difference.mean(), difference.max(), error.mean())
    return {HEAD[0]: name} | {key: float(value) for key, value in zip(HEAD[1:], numbers, strict=True)}
