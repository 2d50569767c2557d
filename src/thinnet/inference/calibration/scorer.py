"""Scores one way to predict on the test cases: one row of a calibration."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from thinnet.inference.calibration import fitting, scores
from thinnet.inference.calibration.scores import LEVELS, Score

Curve = list[tuple[float, ...]]


@dataclass(frozen=True)
class Row:
    """A way to predict, and its scores on the test cases.

    Args:
        name: "single pass" or "Monte-Carlo", and what was fitted on the validation data.
        scores: the scores by name, each with its interval.
        fitted: the fitted values: "temperature", "tau", "factor" or "rate".
        reliability: for labels `(confidence, accuracy, cases)` of each equal-count bin; for values `(level, coverage)` of
            central intervals.
        selective: for labels `(coverage, error)` when only the most confident cases are answered.
    """

    name: str
    scores: dict[str, Score]
    fitted: dict[str, float] = field(default_factory=dict)
    reliability: Curve = field(default_factory=list, repr=False)
    selective: Curve = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class Scorer:
    """Scores rows by the same observations, bins and resamples."""

    y: Tensor
    bins: int
    resamples: int
    seed: int

    def labels(self, name: str, draws: Tensor, temperature: float = 1.0, fitted: dict[str, float] | None = None) -> Row:
        """Scores averaged probabilities: error, NLL, Brier score, both calibration errors, and the risk-coverage curve's area.

        `draws` are logits, `(n, B, C)`.
        """
        from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

        log_p = fitting.log_probabilities(draws, temperature)
        p, cases, classes = log_p.exp(), torch.arange(len(self.y)), draws.shape[-1]
        confidence, guess = p.max(-1)
        correct = (guess == self.y).to(p.dtype)
        truth = torch.nn.functional.one_hot(self.y, classes)
        grouped = scores.equal_count(confidence, self.bins)
        statistics = {
            "error": scores.mean(1 - correct),
            "NLL": scores.mean(-log_p[cases, self.y]),
            "Brier": scores.mean((p - truth).square().sum(-1)),
            "ECE": scores.gap(confidence, correct, scores.equal_width(confidence, self.bins)),
            "adaptive ECE": scores.gap(confidence, correct, grouped),
            "AURC": scores.area(confidence, 1 - correct),
        }
        points = {
            "error": 1 - multiclass_accuracy(guess, self.y, classes, average="micro").item(),
            "ECE": multiclass_calibration_error(p, self.y, classes, n_bins=self.bins).item(),
        }
        found = scores.scored(statistics, points, ("error",), len(self.y), self.resamples, self.seed)
        reliability: Curve = [
            (confidence[inside].mean().item(), correct[inside].mean().item(), int(inside.sum()))
            for group in grouped.unique()
            for inside in [grouped == group]
        ]
        wrong = 1 - correct[confidence.argsort(descending=True, stable=True)]
        risks = wrong.cumsum(0) / torch.arange(1, len(wrong) + 1)
        selective: Curve = [((k + 1) / len(risks), risk) for k, risk in enumerate(risks.tolist())]
        return Row(name, found, fitted or {}, reliability, selective)

    def values(self, name: str, draws: Tensor, variance: Tensor, fitted: dict[str, float] | None = None) -> Row:
        """Scores a mixture of normals: RMSE, NLL, coverage and width of central 95 % intervals, mean calibration error.

        `draws` are `(n, B, D)`, and `variance` is that of the noise around each draw.
        """
        from torchmetrics.functional.regression import mean_squared_error

        middle = draws.mean(0)
        place = torch.special.ndtr((self.y - draws) / variance.sqrt()).mean(0)
        inner = (2 * place - 1).abs()[..., None] <= torch.tensor(LEVELS, dtype=draws.dtype)
        covered = inner.to(draws.dtype).mean(1)
        width = ends(draws, variance, (1 + scores.LEVEL) / 2) - ends(draws, variance, (1 - scores.LEVEL) / 2)
        statistics = {
            "RMSE": scores.root_mean((middle - self.y).square().mean(-1)),
            "NLL": scores.mean(-fitting.density(draws, variance, self.y).mean(-1)),
            "coverage of 95 %": scores.mean(covered[:, -1]),
            "width of 95 %": scores.mean(width.mean(-1)),
            "calibration error": scores.off_level(covered),
        }
        proportions = ("coverage of 95 %",) if self.y.shape[1] == 1 else ()
        points = {"RMSE": mean_squared_error(middle.flatten(), self.y.flatten(), squared=False).item()}
        found = scores.scored(statistics, points, proportions, len(self.y), self.resamples, self.seed, unbounded=("NLL",))
        return Row(name, found, fitted or {}, list(zip(LEVELS, covered.mean(0).tolist(), strict=True)))


def ends(draws: Tensor, variance: Tensor, level: float) -> Tensor:
    """Returns a quantile of an equal mixture of normals around the draws, by 60 bisections.

    >>> round(ends(torch.zeros(2, 1, 1), torch.tensor(1.0), 0.975).item(), 3)
    1.96
    """
    spread = variance.sqrt()
    low, high = (draws - 10 * spread).amin(0), (draws + 10 * spread).amax(0)
    for _ in range(60):
        middle = (low + high) / 2
        below = torch.special.ndtr((middle - draws) / spread).mean(0) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
