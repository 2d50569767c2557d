"""`DropoutRegressor`."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from thinnet.inference.calibration.fitting import fit_variance
from thinnet.sklearn.base import DropoutEstimator
from thinnet.sklearn.conformal import Conformal
from thinnet.sklearn.draws import SAMPLES
from thinnet.sklearn.module import Averaged, rescaled
from thinnet.sklearn.rows import Rows, weights
from thinnet.sklearn.settings import count


def squared_error(output: Tensor, y: Tensor, reduction: str = "none") -> Tensor:
    """Returns the loss of each row, a mean over outputs (N, outputs), or the mean of all."""
    loss = F.mse_loss(output, y, reduction=reduction)
    return loss.mean(1) if reduction == "none" else loss


def r2(output: Tensor, y: Tensor) -> float:
    """Returns the coefficient of determination."""
    return float(r2_score(y.numpy(), output.numpy()))


class DropoutRegressor(RegressorMixin, DropoutEstimator):
    """A multilayer perceptron with dropout for regression, with one or several outputs.

        y = mean + scale f(x),  f(x) = W_L h_{L-1} + b_L,  h_l = dropout(relu(W_l h_{l-1} + b_l))

    Training minimises the squared error of the standardised target with Adam. Rows that are held out calibrate standard
    deviations and intervals.

    Args: those of `DropoutClassifier` but `class_weight`. `calibration` is the share of rows that calibrate intervals. The
        default of `dropout` is 0.1: noise of the last hidden layer is noise of the predicted number.

    Attributes: `loss_curve_` (of the standardised target, with dropout on), `validation_scores_` (R2),
        `validation_loss_curve_`, `dropout_`, `dropout_search_` (validation loss by rate, for "auto"), `noise_variance_` (of
        each output; None without calibration), `n_iter_`, `n_features_in_`, `feature_names_in_`.

    Source: Srivastava et al. 2014, JMLR 15:1929; Gal and Ghahramani 2016, arXiv:1506.02142; Lei et al. 2018, arXiv:1604.04173.

    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, scaled=True)
    >>> model = DropoutRegressor((32,), max_epochs=20, random_state=0).fit(X, y)
    >>> interval = model.predict_interval(X[:3], coverage=0.9)
    >>> interval.shape, bool((interval[:, 0] < interval[:, 1]).all())
    ((3, 2), True)
    """

    _loss, _score = staticmethod(squared_error), staticmethod(r2)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DropoutRegressor":
        """Trains on rows.

        Args:
            X: (N, features), dense or sparse.
            y: (N,) or (N, outputs) numbers.
            sample_weight: (N,), the weight of each row in the loss.

        Raises:
            ValueError: a parameter or the data break their rule.
        """
        X, y = self._validated(X, y)
        rows = self._rows(X, y, sample_weight, new=not (self.warm_start and hasattr(self, "members_")))
        return self._fit(rows, stratify=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DropoutRegressor":
        """Trains for one epoch on these rows; calibration is off afterwards. The first call standardises the target for all.

        Args:
            X: (N, features), dense or sparse.
            y: (N,) or (N, outputs) numbers.
            sample_weight: (N,), the weight of each row in the loss.
        """
        first = not hasattr(self, "members_")
        X, y = self._validated(X, y, reset=first)
        return self._partial_fit(self._rows(X, y, sample_weight, new=first))

    def _validated(self, X: Any, y: Any, reset: bool = True) -> tuple[Any, np.ndarray]:
        options: dict[str, Any] = {"accept_sparse": "csr", "dtype": np.float32, "order": "C", "reset": reset}
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **options)
        return X, np.asarray(y)

    def _rows(self, x: Any, y: np.ndarray, sample_weight: Any, new: bool) -> Rows:
        weight, table = weights("DropoutRegressor", sample_weight, x), y.reshape(len(y), -1).astype(np.float64)
        if new:
            self._flat = y.ndim == 1
        elif table.shape[1] != len(self.target_mean_):
            rule = f"DropoutRegressor: y must have the {len(self.target_mean_)} outputs of the first call"
            raise ValueError(f"{rule}; got {table.shape[1]}. Use a new estimator.")
        return Rows(x, table, weight)

    def _fit_targets(self, rows: Rows) -> None:
        """Keeps the mean and the scale of the targets."""
        mean = np.average(rows.y, axis=0, weights=rows.weight)
        most = np.abs(rows.y - mean).max(0)
        most = np.where(most > 0, most, 1.0)  # squares of very large and very small targets are no float64
        scale = most * np.sqrt(np.average(((rows.y - mean) / most) ** 2, axis=0, weights=rows.weight))
        self.target_mean_, self.target_scale_ = mean, np.where(scale > 0, scale, 1.0)

    def _prepared(self, rows: Rows) -> Rows:
        return replace(rows, y=((rows.y - self.target_mean_) / self.target_scale_).astype(np.float32))

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Returns the value of each row, from a single pass without dropout.

        Args:
            X: (N, features).
            return_std: whether to return the standard deviation of the target around the prediction, too: that of the draws
                and of the noise that the calibration rows show.

        Returns: (N,) or (N, outputs), or a pair of these.
        """
        x = self._inputs(X)
        mean = self._in_units(self._passes(x).mean(0))
        return (mean, self._shaped(self._std(x) * self.target_scale_)) if return_std else mean

    def sample(self, X: Any, n: int = SAMPLES) -> np.ndarray:
        """Returns the values of n sub-networks (Monte-Carlo dropout). A sub-network is the same for all rows.

        Args:
            X: (N, features).
            n: the number of draws.

        Returns: (n, N) or (n, N, outputs).
        """
        return self._in_units(self._draws(self._inputs(X), count("DropoutRegressor.sample", "n", n)))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Returns an interval for each row that holds the target with a probability of at least `coverage`.

            f(x) -+ q s(x),  s(x) = sqrt(variance of the draws + training loss)

        q is the split-conformal quantile of |y - f(x)| / s(x) on the calibration rows, which decide nothing else. The guarantee
        is an average over rows, for each output on its own.

        Args:
            X: (N, features).
            coverage: the probability.

        Returns: (N, 2) or (N, outputs, 2): the lower and the upper end.

        Raises:
            ValueError: there were too few calibration rows.

        Source: Lei et al. 2018, arXiv:1604.04173.
        """
        x = self._inputs(X)
        q = self.conformal_.needed("DropoutRegressor.predict_interval").quantile(coverage)
        mean, half = self._passes(x).mean(0).double().numpy(), q * self._width(x)
        ends = np.stack([mean - half, mean + half], -1) * self.target_scale_[:, None] + self.target_mean_[:, None]
        return ends[:, 0] if self._flat else ends

    def _std(self, x: Any) -> np.ndarray:
        """Returns the standard deviation of the standardised target, (N, outputs)."""
        variance = self._sampled(x).var(0).numpy()
        return np.sqrt(variance if self.noise_variance_ is None else variance + self.noise_variance_)

    def _width(self, x: Any) -> np.ndarray:
        """Returns s(x) of the intervals, (N, outputs). It must not depend on the calibration rows, as the noise does."""
        return np.sqrt(self._sampled(x).var(0).numpy() + max(self.loss_, float(np.finfo(np.float32).tiny)))

    def _sampled(self, x: Any) -> Tensor:
        return self._draws(x, max(SAMPLES, 2 * len(self.members_))).double()

    def _in_units(self, outputs: Tensor) -> np.ndarray:
        return self._shaped(outputs.numpy() * self.target_scale_ + self.target_mean_)

    def _shaped(self, values: np.ndarray) -> np.ndarray:
        return values[..., 0] if self._flat else values

    def _calibrate(self, rows: Rows) -> None:
        mean, drawn = self._passes(rows.x).mean(0), self._sampled(rows.x)
        y = torch.from_numpy(rows.y)
        noise = [fit_variance(drawn[..., [k]], y[:, [k]]) for k in range(y.shape[1])]
        self.noise_variance_ = np.array(noise)
        self.conformal_ = Conformal((y - mean).abs().numpy() / self._width(rows.x))

    def _uncalibrated(self) -> None:
        self.noise_variance_, self.conformal_ = None, Conformal(np.empty((0, len(self.target_mean_))))

    def _outputs(self) -> int:
        return len(self.target_mean_)

    def _module(self) -> nn.Module:
        scale, shift = torch.from_numpy(self.target_scale_), torch.from_numpy(self.target_mean_)
        networks: list[nn.Module] = [rescaled(member.network, scale, shift) for member in self.members_]
        return networks[0] if len(networks) == 1 else Averaged(networks, None)

    def _calibration_lines(self) -> list[tuple[str, object]]:
        rows = len(self.conformal_.scores)
        if self.noise_variance_ is None:
            return [("calibration rows", rows)]
        noise = np.sqrt(self.noise_variance_) * self.target_scale_
        return [("calibration rows", rows), ("standard deviation of the noise", ", ".join(f"{each:.3g}" for each in noise))]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
