"""Statistics of the draws of a prediction.

With p_t the probabilities of draw t and p = (1/n) sum_t p_t their average, in nats:

    predictive entropy   H[p] = -sum_c p_c log p_c              total uncertainty
    expected entropy     (1/n) sum_t H[p_t]                     uncertainty of the data: each sub-network is unsure
    mutual information   H[p] - (1/n) sum_t H[p_t] >= 0         uncertainty of the model: sub-networks disagree
    variation ratio      1 - max_c (1/n) #{t: argmax p_t = c}

and for values y_t:      variance = 1/tau + (1/n) sum_t y_t^2 - mean^2

Gal and Ghahramani 2016, "Dropout as a Bayesian approximation", arXiv:1506.02142. Houlsby et al. 2011, arXiv:1112.5745 (BALD).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from thinnet.inference.monte_carlo import error
from thinnet.inference.monte_carlo.error import Enough
from thinnet.report.table import Table, Tabular

KINDS = ("logits", "values")
DOUBLE = 1 << 25  # statistics of more numbers are computed in single precision


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Tabular):
    """The draws of a prediction, and their statistics.

    Args:
        draws: `(n, B, ...)`: draw t of sample i is `draws[t, i]`. Logits have the classes on the last axis.
        kind: "logits" or "values".
        addressed: whether every mask has an address, so that a draw of a sample is the same in any batch.
        notes: limits of these draws.
        aleatoric: for values: the variance of the data around each draw as the model predicts it, in the shape of `draws`.

    Raises:
        ValueError: `draws` has no draw or no axis of samples, holds NaN, logits without a softmax (inf, or -inf for every
            class), or logits of fewer than two classes; or `kind` is unknown.
        TypeError: `draws` are not floating-point numbers.

    >>> two = Prediction(torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]]), "logits")
    >>> two.mean, round(float(two.entropy), 3), round(float(two.mutual_information), 3)
    (tensor([[0.5000, 0.5000]]), 0.693, 0.603)
    """

    draws: Tensor
    kind: str
    addressed: bool = True
    notes: tuple[str, ...] = ()
    aleatoric: Tensor | None = None

    def __post_init__(self) -> None:
        _check(self.draws, self.kind)

    @property
    def n(self) -> int:
        """The number of draws."""
        return len(self.draws)

    @cached_property
    def _log_p(self) -> Tensor:
        if self.kind != "logits":
            raise ValueError("Prediction: kind must be 'logits' for probabilities; got 'values'. Use mean, std and quantiles.")
        return self._wide.log_softmax(-1)

    @property
    def _wide(self) -> Tensor:
        return self.draws.double() if self.draws.numel() <= DOUBLE else self.draws.float()

    @cached_property
    def _values(self) -> Tensor:
        return self._log_p.exp() if self.kind == "logits" else self._wide

    @cached_property
    def _mean(self) -> Tensor:
        return self._values.mean(0)

    @cached_property
    def _entropies(self) -> Tensor:
        return -(self._log_p.exp() * self._log_p).nan_to_num(nan=0.0).sum(-1)  # a logit of -inf has p = 0, and 0 log 0 = 0

    def _narrow(self, values: Tensor) -> Tensor:
        return values.to(self.draws.dtype)

    @property
    def probabilities(self) -> Tensor:
        """The softmax of each draw of logits, `(n, B, ..., classes)`."""
        return self._narrow(self._log_p.exp())

    @property
    def mean(self) -> Tensor:
        """The average of the draws, `(B, ...)`: of probabilities for logits, else of values."""
        return self._narrow(self._mean)

    @property
    def std(self) -> Tensor:
        """The standard deviation of the draws (of probabilities for logits), `(B, ...)`, with n - 1; NaN for one draw."""
        return self._narrow(error.spread(self._values))

    def quantiles(self, q: float | Sequence[float]) -> Tensor:
        """Returns quantiles of the draws (of probabilities for logits), with linear interpolation.

        Args:
            q: one level in 0 .. 1, or several.

        Returns: `(B, ...)` for one level, `(len(q), B, ...)` for several.

        Raises:
            ValueError: a level is outside of 0 .. 1.

        >>> Prediction(torch.arange(5.0).reshape(5, 1), "values").quantiles([0.0, 0.5, 1.0]).flatten()
        tensor([0., 2., 4.])
        """
        return self._narrow(error.quantiles(self._values, q))

    def quantile_error(self, q: float | Sequence[float]) -> Tensor:
        """Returns the Monte-Carlo standard error of `quantiles(q)`: half of what lies between q -+ sqrt(q (1 - q) / n)."""
        return self._narrow(error.of_quantiles(self._values, q))

    @property
    def entropy(self) -> Tensor:
        """The predictive entropy H[p] of the average, `(B, ...)`. With few draws it is too low by about var(p) / (2 n p)."""
        return self._narrow(-torch.special.xlogy(self._mean, self._mean).sum(-1) if self.kind == "logits" else self._log_p)

    @property
    def expected_entropy(self) -> Tensor:
        """The average entropy of the draws, `(B, ...)`."""
        return self._narrow(self._entropies.mean(0))

    @property
    def mutual_information(self) -> Tensor:
        """H[p] minus the expected entropy (BALD), `(B, ...)`: the mean of KL(p_t || p), so never below zero."""
        return self._narrow(self._divergences.mean(0).clamp_min(0.0))

    @cached_property
    def _divergences(self) -> Tensor:
        return (self._cross - self._entropies).clamp_min(0.0)

    @cached_property
    def _cross(self) -> Tensor:
        return -torch.special.xlogy(self._log_p.exp(), self._mean).sum(-1)

    @property
    def variation_ratio(self) -> Tensor:
        """The fraction of draws whose class is not the most frequent one, `(B, ...)`."""
        return self._narrow(error.variation_ratio(self._log_p))

    def variance(self, tau: float | None = None) -> Tensor:
        """Returns the predictive variance of values: the variance of the draws plus that of the data.

        Args:
            tau: the precision of the data, as from `thinnet.inference.precision`; the variance of the data is `1 / tau`. By
                default it is the mean of `aleatoric`, or zero without one.

        Returns: `(B, ...)`.

        Raises:
            ValueError: the draws are logits, or tau is not positive.

        >>> float(Prediction(torch.tensor([[1.0], [3.0]]), "values").variance(tau=4.0))
        1.25
        """
        if self.kind != "values":
            raise ValueError("Prediction.variance: kind must be 'values'; got 'logits'. Use std, entropy and the others.")
        if tau is not None and not tau > 0:
            raise ValueError(f"Prediction.variance: tau must be positive; got {tau}. See precision(p, ...).")
        own = self._values.var(0, correction=0)
        if tau is not None:
            return self._narrow(own + 1 / tau)
        return self._narrow(own if self.aleatoric is None else own + self.aleatoric.double().mean(0))

    @cached_property
    def error(self) -> dict[str, Tensor]:
        """The Monte-Carlo standard error of each statistic, by name: how far a repetition with n other draws would differ.

        For a mean it is std / sqrt(n). For the others the delta method gives the first-order change with a draw: for the
        entropy std_t(-sum_c p_tc log p_c) / sqrt(n), for the mutual information std_t(KL(p_t || p)) / sqrt(n). The error of the
        variation ratio r is sqrt(r' (1 - r') / n), r' = (n r + 2) / (n + 4) (Agresti and Coull 1998): above 0 if draws agree.
        """
        found = {"mean": error.of_mean(self._values), "std": error.of_std(self._values)}
        if self.kind == "logits":
            found["entropy"] = error.of_mean(self._cross)
            found["expected_entropy"] = error.of_mean(self._entropies)
            found["mutual_information"] = error.of_mean(self._divergences)
            found["variation_ratio"] = error.of_share(error.variation_ratio(self._log_p), self.n)
        return {name: self._narrow(value) for name, value in found.items()}

    def enough(self, tolerance: float, statistic: str = "mean") -> Enough:
        """Returns whether the draws are enough: the largest Monte-Carlo standard error over the samples is within a tolerance.

        Args:
            tolerance: the largest accepted standard error, in the unit of the statistic.
            statistic: a name in `error`.

        Raises:
            ValueError: the tolerance is not positive, the statistic is unknown, or there is a single draw.

        >>> print(Prediction(torch.tensor([[0.0], [1.0], [2.0], [1.0]]), "values").enough(0.1))
        n = 4 is not enough: the standard error of the mean is up to 0.41, and should be 0.1. Use n = 67.
        """
        return error.enough(self.n, self.error, tolerance, statistic)

    def tables(self) -> list[Table]:
        """Returns the average, the largest value and the largest Monte-Carlo error of each statistic over the samples."""
        n, count, *rest = self.draws.shape
        addressed = "every mask addressed" if self.addressed else "not every mask addressed"
        title = f"{n} draws of {count} samples, {self.kind}{f' of shape {tuple(rest)}' if rest else ''}, {addressed}"
        names = [name for name in self.error if name != "mean" or self.kind == "values"] if self.draws.numel() else []
        rows = []
        for name in names:
            value, wrong = getattr(self, name), float(self.error[name].max())
            rows.append((name.replace("_", " "), f"{float(value.mean()):.4g}", f"{float(value.max()):.4g}", f"{wrong:.2g}"))
        return [Table(("", "average", "largest", "error"), rows, title, notes=self.notes)]


def precision(p: float, length_scale: float, samples: int, weight_decay: float) -> float:
    """Returns the precision of the data noise that training with dropout and weight decay implies.

        tau = (1 - p) l^2 / (2 N lambda)

    Args:
        p: the dropout rate.
        length_scale: the prior length scale l; large for a function that changes slowly.
        samples: the number N of training samples.
        weight_decay: lambda of the loss `mean squared error + lambda * sum of squared weights`. `weight_decay` of PyTorch's SGD
            is twice that: give half of it.

    Raises:
        ValueError: p is outside of 0 .. 1, or another number is not positive.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142, and the authors' code.

    >>> round(precision(p=0.05, length_scale=0.01, samples=400, weight_decay=1e-7), 4)
    1.1875
    """
    if not 0 <= p < 1:
        raise ValueError(f"precision: p must be in [0, 1); got {p}. It is the probability of dropping.")
    numbers = {"length_scale": length_scale, "samples": samples, "weight_decay": weight_decay}
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"precision: {name} must be positive; got {value}.")
    return (1 - p) * length_scale**2 / (2 * samples * weight_decay)


def _check(draws: Tensor, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"Prediction: kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    if not isinstance(draws, Tensor) or not draws.is_floating_point():
        got = draws.dtype if isinstance(draws, Tensor) else type(draws).__name__
        raise TypeError(f"Prediction: draws must be floating-point numbers; got {got}. Choose logits or values.")
    if draws.ndim < 2 or len(draws) < 1:
        raise ValueError(f"Prediction: draws must have shape (n, B, ...), n >= 1; got {tuple(draws.shape)}.")
    if kind == "logits" and (draws.ndim < 3 or draws.shape[-1] < 2):
        rule = f"Prediction: logits must have two or more classes on the last axis; got draws of shape {tuple(draws.shape)}"
        raise ValueError(f"{rule}. For one logit z use (0, z), or kind='values'.")
    bad = error.bad_rows(draws)
    if bad:
        raise ValueError(f"Prediction: {kind} must be numbers; got NaN in {bad} of {draws.shape[1]} rows. Check those inputs.")
    if kind == "logits" and (bad := error.bad_rows(draws.amax(-1).abs() * 0)):  # NaN where the largest logit is infinite
        rule = "Prediction: the largest logit of a draw must be finite, as -inf alone is a probability of 0"
        raise ValueError(f"{rule}; got others in {bad} of {draws.shape[1]} rows. Check those inputs.")
