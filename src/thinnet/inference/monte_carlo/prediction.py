"""What draws of a prediction say: their average, how far they are apart, and how sure these numbers are after n draws.

With p_t the probabilities of draw t and p = (1/n) sum_t p_t their average, in nats:

    predictive entropy   H[p] = -sum_c p_c log p_c              all of the uncertainty
    expected entropy     (1/n) sum_t H[p_t]                     what is in the data: each thinned network is unsure
    mutual information   H[p] - (1/n) sum_t H[p_t] >= 0         what is in the model: thinned networks contradict one another
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

KINDS = ("logits", "values")
DOUBLE = 1 << 25  # numbers of draws up to which all is computed in double precision


@dataclass(frozen=True, eq=False)
class Prediction:
    """The draws of a prediction, and what can be read off them.

    Args:
        draws: `(n, B, ...)`: draw t of sample i is `draws[t, i]`. Of a classification the logits, classes on the last axis.
        kind: "logits" or "values".
        named: whether every coin had a name, so that a draw of a sample is the same in any batch.
        notes: what a reader should know beside.
        aleatoric: of values: the variance of the data around each draw, as the model says it, in the shape of `draws`.

    Raises:
        ValueError: `draws` has no draw or no axis of samples, holds NaN, or logits of fewer than two classes; no such kind.
        TypeError: `draws` are no floating-point numbers.

    >>> two = Prediction(torch.tensor([[[4.0, 0.0]], [[0.0, 4.0]]]), "logits")
    >>> two.mean, round(float(two.entropy), 3), round(float(two.mutual_information), 3)
    (tensor([[0.5000, 0.5000]]), 0.693, 0.603)
    """

    draws: Tensor
    kind: str
    named: bool = True
    notes: tuple[str, ...] = ()
    aleatoric: Tensor | None = None

    def __post_init__(self) -> None:
        check(self.draws, self.kind)

    @property
    def n(self) -> int:
        """How many draws there are."""
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
        """The average of the draws, `(B, ...)`: of probabilities for logits, of the values else."""
        return self._narrow(self._mean)

    @property
    def std(self) -> Tensor:
        """The standard deviation of the draws (of probabilities for logits), `(B, ...)`, with n - 1; NaN of one draw."""
        return self._narrow(error.spread(self._values))

    def quantiles(self, q: float | Sequence[float]) -> Tensor:
        """Returns quantiles of the draws (of probabilities for logits), between two draws by a straight line.

        Args:
            q: shares in 0 .. 1: one, or several.

        Returns: `(B, ...)` for one, `(len(q), B, ...)` for several.

        Raises:
            ValueError: a share outside of 0 .. 1.

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
        """H[p] minus the expected entropy: BALD, `(B, ...)`. The mean of KL(p_t || p), and so never below zero."""
        return self._narrow(self._divergences.mean(0).clamp_min(0.0))

    @cached_property
    def _divergences(self) -> Tensor:
        return (self._cross - self._entropies).clamp_min(0.0)

    @cached_property
    def _cross(self) -> Tensor:
        return -torch.special.xlogy(self._log_p.exp(), self._mean).sum(-1)

    @property
    def variation_ratio(self) -> Tensor:
        """The share of draws whose class is not the most frequent one, `(B, ...)`."""
        return self._narrow(error.variation_ratio(self._log_p))

    def variance(self, tau: float | None = None) -> Tensor:
        """Returns the predictive variance of values: `1 / tau`, or what the model says of the data, plus the draws' own.

        Args:
            tau: the precision of the data, as from `thinnet.inference.precision`. Left out, it is `aleatoric` that
                counts, or nothing where the model says nothing.

        Returns: `(B, ...)`.

        Raises:
            ValueError: of logits; tau is not positive.

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
        """The Monte-Carlo standard error of each statistic, by its name: how far another n draws would be off.

        Of a mean it is std / sqrt(n). Of the others it is that of their first-order change with a draw (delta method): of the
        entropy std_t(-sum_c p_tc log p_c) / sqrt(n), of the mutual information std_t(KL(p_t || p)) / sqrt(n).
        """
        found = {"mean": error.of_mean(self._values), "std": error.of_std(self._values)}
        if self.kind == "logits":
            found["entropy"] = error.of_mean(self._cross)
            found["expected_entropy"] = error.of_mean(self._entropies)
            found["mutual_information"] = error.of_mean(self._divergences)
            share = error.variation_ratio(self._log_p)
            found["variation_ratio"] = (share * (1 - share) / self.n).sqrt()
        return {name: self._narrow(value) for name, value in found.items()}

    def enough(self, tolerance: float, statistic: str = "mean") -> Enough:
        """Says whether there are enough draws: the largest Monte-Carlo standard error of all samples is within the tolerance.

        Args:
            tolerance: the largest standard error that is good enough, in the unit of the statistic.
            statistic: a name in `error`.

        Raises:
            ValueError: a tolerance that is not positive, no such statistic, or a single draw, which says nothing of others.

        >>> print(Prediction(torch.tensor([[0.0], [1.0], [2.0], [1.0]]), "values").enough(0.1))
        n = 4 is not enough: the standard error of the mean is up to 0.41, and should be 0.1. Use n = 67.
        """
        return error.enough(self.n, self.error, tolerance, statistic)

    def __str__(self) -> str:
        from thinnet.inference.monte_carlo.table import plain

        return plain(self)


def check(draws: Tensor, kind: str) -> None:
    """Raises where draws are none that statistics could be of."""
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
    bad = int(draws.isnan().any(0).flatten(1).any(1).sum()) if draws.ndim > 2 else int(draws.isnan().any(0).sum())
    if bad:
        raise ValueError(f"Prediction: {kind} must be numbers; got NaN in {bad} of {draws.shape[1]} rows. Look at them.")
