"""The result of `moments`: what one pass says of the outputs, and how far that is from what sampling says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments

if TYPE_CHECKING:
    from thinnet.inference.monte_carlo.prediction import Prediction

HEAD = ("of the outputs", "propagated", "sampled", "mean |difference|", "largest", "Monte-Carlo error")


@dataclass(frozen=True, eq=False)
class Propagated:
    """Mean and variance of outputs over all masks.

    Args:
        mean: `(B, ...)`, of the outputs as the model gives them: logits are not softmaxed.
        variance: `(B, ...)`.
        kind: "logits" or "values".
        sampled: the draws that it is compared with; None where there are none.

    >>> import torch
    >>> print(Propagated(torch.zeros(1, 1), torch.ones(1, 1), "values", None).std)
    tensor([[1.]])
    """

    mean: Tensor
    variance: Tensor
    kind: str
    sampled: "Prediction | None"

    @property
    def std(self) -> Tensor:
        """The standard deviation, `(B, ...)`."""
        return self.variance.sqrt()

    @property
    def probabilities(self) -> Tensor:
        """The mean probabilities of logits as Gaussian as these, `(B, ..., classes)`.

        Raises: ValueError for values.
        """
        if self.kind != "logits":
            raise ValueError("Propagated: kind must be 'logits' for probabilities; got 'values'. Use mean and std.")
        return moments.softmax(Moments(self.mean, self.variance)).mean

    def rows(self) -> list[dict[str, Any]]:
        """Returns one row a quantity: its mean size by both ways, their difference, and how sure sampling is of it.

        Raises: ValueError where nothing was sampled.
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

    def __str__(self) -> str:
        """The table."""
        head = f"moments of {len(self.mean)} predictions ({self.kind}) in one pass"
        if self.sampled is None:
            return f"{head}: mean std {float(self.std.mean()):.3g}; not compared with draws"
        rows = self.rows()
        cells = [HEAD, *([row[HEAD[0]], *(f"{row[name]:.3g}" for name in HEAD[1:])] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(HEAD))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        return "\n".join([f"{head}, beside {len(self.sampled.draws)} draws; means of absolute values", *lines])


def _row(name: str, propagated: Tensor, sampled: Tensor, error: Tensor) -> dict[str, Any]:
    apart = (propagated.double() - sampled).abs()
    numbers = (propagated.abs().mean(), sampled.abs().mean(), apart.mean(), apart.max(), error.mean())
    return {HEAD[0]: name} | {key: float(value) for key, value in zip(HEAD[1:], numbers, strict=True)}
