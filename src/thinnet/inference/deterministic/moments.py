"""Mean and spread of a prediction in one pass by moment propagation, compared with sampling.

    (E, Var) of the input of a layer -> (E, Var) of its output: exact for dropout and linear maps, else for a Gaussian input

Wang and Manning 2013, ICML, PMLR 28(2):118; Brach, Sick, Duerr 2020, arXiv:2007.03293.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.arguments import check_counts, check_kind
from thinnet.inference.copies import free_copy
from thinnet.inference.deterministic.traced import through
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.inference.monte_carlo.sampling import sample
from thinnet.methods.moments import moments as propagation
from thinnet.methods.moments.moments import Moments
from thinnet.report.table import Table, Tabular

HEAD = ("statistic", "propagated", "sampled", "mean |difference|", "largest", "Monte-Carlo error")


@dataclass(frozen=True, eq=False, repr=False)
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
        return propagation.softmax(Moments(self.mean, self.variance)).mean

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


def moments(
    model: nn.Module,
    x: Tensor,
    *,
    n: int | None = 200,
    seed: int = 0,
    kind: str | None = None,
    rules: Mapping[type[nn.Module], Any] | None = None,
) -> Propagated:
    """Returns mean and standard deviation of a model's output over all its masks, in one pass, with their error.

    Each layer maps the mean and the variance of its input to those of its output. That is exact for dropout and linear maps;
    activations assume a Gaussian input, and every layer assumes independent units. So the result is exact up to the first
    activation behind dropout, and an approximation from there. The table compares it with Monte-Carlo draws. A custom forward
    method must be a chain of layers and functions.

    Args:
        model: a chain of layers, activations, dropout, batch normalisation and pooling; it is unchanged.
        x: the inputs, `(B, ...)`.
        n: the number of draws to compare with; None for no comparison and no cost.
        seed: the seed of these draws.
        kind: "logits" or "values"; by default the last axis of the output decides, as in `sample`.
        rules: rules for further classes: functions of a module and the `Moments` of its input that return those of its output.

    Returns: the moments of the outputs (for logits also of probabilities), and a table as `str`.

    Raises:
        TypeError: a layer has no rule, or a forward method is not a chain; the message names it.
        ValueError: an argument is out of range.

    Source: Wang and Manning 2013, ICML; Brach et al. 2020, arXiv:2007.03293.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))
    >>> found = moments(model, torch.randn(3, 4), n=None)
    >>> found.mean.shape, bool((found.std > 0).all())
    (torch.Size([3, 2]), True)
    """
    if n is not None:
        check_counts("moments", 2, n=n)
    check_kind("moments", kind)
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"moments: x must be a tensor of floating-point numbers; got {got}. Embed it first.")
    with torch.no_grad():
        mean, variance = through(free_copy("moments", model), Moments.of(x), rules)
    sampled = None
    if n is not None:
        sampled = sample(model, x, n=n, seed=seed, kind=kind)
        kind = sampled.kind
    kind = kind or ("logits" if mean.ndim > 1 and mean.shape[-1] > 1 else "values")
    return Propagated(mean, variance, kind, sampled)


def _row(name: str, propagated: Tensor, sampled: Tensor, error: Tensor) -> dict[str, Any]:
    difference = (propagated.double() - sampled).abs()
    numbers = (propagated.abs().mean(), sampled.abs().mean(), difference.mean(), difference.max(), error.mean())
    return {HEAD[0]: name} | {key: float(value) for key, value in zip(HEAD[1:], numbers, strict=True)}
