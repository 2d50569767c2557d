"""`DropoutClassifier`."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.multiclass import _check_partial_fit_first_call, check_classification_targets
from sklearn.utils.validation import validate_data
from torch import Tensor, nn

from thinnet.inference.calibration.fitting import fit_temperature, log_probabilities
from thinnet.sklearn.base import DropoutEstimator
from thinnet.sklearn.conformal import Conformal
from thinnet.sklearn.draws import SAMPLES
from thinnet.sklearn.module import Averaged, rescaled
from thinnet.sklearn.rows import Rows, weights
from thinnet.sklearn.settings import count


def cross_entropy(output: Tensor, y: Tensor, reduction: str = "none") -> Tensor:
    """Returns the loss of each row, or the mean, from logits (N, classes) and classes (N,)."""
    return F.cross_entropy(output, y, reduction=reduction)


def accuracy(output: Tensor, y: Tensor) -> float:
    """Returns the share of rows whose class is right."""
    return float((output.argmax(1) == y).float().mean())


class DropoutClassifier(ClassifierMixin, DropoutEstimator):
    """A multilayer perceptron with dropout for classification.

        p(class | x) = softmax(z / T),  z = W_L h_{L-1} + b_L,  h_l = dropout(relu(W_l h_{l-1} + b_l))

    Training minimises the cross-entropy with Adam. The temperature T is fitted on rows that are held out.

    Args:
        hidden_layer_sizes: the widths of the hidden layers.
        dropout: the rate of the hidden units: one number, one a layer, a schedule of `thinnet.schedules`, or "auto". "auto"
            compares 0 and five rates on inner validation rows, with three seeds each, and takes the lowest mean loss.
        input_dropout: the rate of the inputs.
        method: "dropout", or the name of another elementwise method, such as "GaussianDropout".
        thin: whether dropped units are skipped in training: True, or the number of groups of a batch with a mask each.
        learning_rate: of Adam.
        batch_size: rows a step; "auto" is a twentieth of the rows, between 32 and 256.
        max_epochs: passes over the rows.
        early_stopping: whether to stop at the lowest validation loss, and keep those weights.
        validation_fraction: the share of rows for early stopping and for `dropout="auto"`.
        n_iter_no_change: the epochs without a lower validation loss after which training stops.
        weight_decay: of AdamW; 0 is Adam.
        calibration: the share of rows that calibrate probabilities, at most 2000; 0 for none. It is off where this gives
            fewer than 20 rows.
        n_estimators: networks to train from different seeds and average.
        n_jobs: processes for these networks and for `dropout="auto"`.
        warm_start: whether `fit` goes on from the weights of the last call.
        random_state: the seed of weights, batches and masks.
        device: where training runs: "cpu", "cuda", "auto" or another of PyTorch. Predictions run on the CPU.
        verbose: whether to show a progress line.
        class_weight: a weight for each class, or "balanced".

    Attributes: `classes_`, `loss_curve_` (with dropout on), `validation_scores_`, `validation_loss_curve_`, `dropout_`,
        `dropout_search_` (validation loss by rate, for "auto"), `temperature_`, `n_iter_`, `n_features_in_`,
        `feature_names_in_`.

    Source: Srivastava et al. 2014, JMLR 15:1929; Gal and Ghahramani 2016, arXiv:1506.02142; Guo et al. 2017, arXiv:1706.04599.

    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = DropoutClassifier((32,), max_epochs=20, random_state=0).fit(X, y)
    >>> model.predict_proba(X[:2]).shape, model.sample(X[:2], n=5).shape
    ((2, 3), (5, 2, 3))
    """

    _loss, _score = staticmethod(cross_entropy), staticmethod(accuracy)

    def __init__(
        self,
        hidden_layer_sizes: Any = (128, 128),
        *,
        dropout: Any = 0.2,
        input_dropout: float = 0.0,
        method: str = "dropout",
        thin: bool | int = False,
        learning_rate: float = 1e-3,
        batch_size: int | str = "auto",
        max_epochs: int = 100,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        weight_decay: float = 0.0,
        calibration: float = 0.1,
        n_estimators: int = 1,
        n_jobs: int | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        device: str = "cpu",
        verbose: bool | int = False,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            dropout=dropout,
            input_dropout=input_dropout,
            method=method,
            thin=thin,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            weight_decay=weight_decay,
            calibration=calibration,
            n_estimators=n_estimators,
            n_jobs=n_jobs,
            warm_start=warm_start,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "DropoutClassifier":
        """Trains on rows.

        Args:
            X: (N, features), dense or sparse.
            y: (N,) classes.
            sample_weight: (N,), the weight of each row in the loss.

        Raises:
            ValueError: a parameter or the data break their rule.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32, order="C")
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        classes, numbers = np.unique(y, return_inverse=True)
        if self.warm_start and hasattr(self, "members_") and not np.array_equal(classes, self.classes_):
            rule = "DropoutClassifier: with warm_start, y must have the classes of the last call"
            raise ValueError(f"{rule}; got {classes.tolist()}, not {self.classes_.tolist()}. Use a new estimator.")
        self.classes_ = classes
        rows = Rows(X, numbers.astype(np.int64), weights("DropoutClassifier", sample_weight, X, self._by_class(y)))
        return self._fit(rows, stratify=True)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> "DropoutClassifier":
        """Trains for one epoch on these rows; calibration is off afterwards.

        Args:
            X: (N, features), dense or sparse.
            y: (N,) classes.
            classes: all classes; needed in the first call.
            sample_weight: (N,), the weight of each row in the loss.
        """
        if isinstance(self.class_weight, str):
            rule = "DropoutClassifier.partial_fit: class_weight must be a mapping"
            raise ValueError(f"{rule}; got {self.class_weight!r}. Give the weight of each class.")
        first = _check_partial_fit_first_call(self, classes)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=np.float32, order="C", reset=first)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        if unknown := np.setdiff1d(y, self.classes_).tolist():
            raise ValueError(f"DropoutClassifier.partial_fit: y must be among the classes; got {unknown}. Name all classes.")
        numbers = np.searchsorted(self.classes_, y).astype(np.int64)
        return self._partial_fit(Rows(X, numbers, weights("DropoutClassifier", sample_weight, X, self._by_class(y))))

    def _by_class(self, y: np.ndarray) -> np.ndarray | None:
        return None if self.class_weight is None else compute_sample_weight(self.class_weight, y)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Returns the most probable class of each row.

        Args:
            X: (N, features).
            return_std: whether to return the standard deviation of the probability of that class over sub-networks, too.

        Returns: (N,), or a pair of these.
        """
        if not return_std:
            best = self._log_probabilities(X).argmax(1).numpy()
            return self.classes_[best]
        p, std = self.predict_proba(X, return_std=True)
        best = p.argmax(1)
        return self.classes_[best], np.take_along_axis(std, best[:, None], 1)[:, 0]

    def predict_proba(self, X: Any, return_std: bool = False) -> Any:
        """Returns the probability of each class, from a single pass without dropout at the fitted temperature.

        Args:
            X: (N, features).
            return_std: whether to return the standard deviation over sub-networks, too.

        Returns: (N, classes), or a pair of these.
        """
        p = self._log_probabilities(X).exp().numpy()
        return (p, self.sample(X, SAMPLES).std(0, ddof=1)) if return_std else p

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Returns the logarithm of `predict_proba`."""
        return self._log_probabilities(X).numpy()

    def sample(self, X: Any, n: int = SAMPLES) -> np.ndarray:
        """Returns the probabilities of n sub-networks (Monte-Carlo dropout), at the fitted temperature.

        A sub-network is the same for all rows.

        Args:
            X: (N, features).
            n: the number of draws.

        Returns: (n, N, classes).
        """
        n = count("DropoutClassifier.sample", "n", n)
        return (self._draws(self._inputs(X), n) / self.temperature_).softmax(-1).numpy()

    def predict_set(self, X: Any, coverage: float = 0.9) -> np.ndarray:
        """Returns a set of classes for each row that holds the true one with a probability of at least `coverage`.

        Sets hold the classes whose probability, before the temperature, is high enough: split-conformal prediction on the
        calibration rows, which fitted nothing else of it. The guarantee is an average over rows; a set can be empty.

        Args:
            X: (N, features).
            coverage: the probability.

        Returns: (N, classes), True for a class in the set.

        Raises:
            ValueError: there were too few calibration rows.

        Source: Sadinle, Lei, Wasserman 2019, arXiv:1609.00451.
        """
        scores = -log_probabilities(self._passes(self._inputs(X))).numpy()
        return scores <= self._conformal("predict_set").quantile(coverage)

    def _log_probabilities(self, X: Any) -> Tensor:
        outputs = self._passes(self._inputs(X))
        return log_probabilities(outputs, self.temperature_)

    def _conformal(self, function: str) -> Conformal:
        return self.conformal_.needed(f"DropoutClassifier.{function}")

    def _calibrate(self, rows: Rows) -> None:
        outputs, y = self._passes(rows.x), torch.from_numpy(rows.y)
        self.temperature_ = fit_temperature(outputs, y)
        scores = -log_probabilities(outputs).gather(1, y[:, None])  # the temperature has seen these rows
        self.conformal_ = Conformal(scores.numpy())

    def _uncalibrated(self) -> None:
        self.temperature_, self.conformal_ = 1.0, Conformal(np.empty((0, 1)))

    def _fit_targets(self, rows: Rows) -> None:
        """Classes are known before the split."""

    def _prepared(self, rows: Rows) -> Rows:
        return rows

    def _outputs(self) -> int:
        return len(self.classes_)

    def _module(self) -> nn.Module:
        networks = [member.network for member in self.members_]
        if len(networks) > 1:
            copies: list[nn.Module] = [rescaled(each, torch.ones(len(self.classes_)), torch.zeros(())) for each in networks]
            return Averaged(copies, self.temperature_)
        return rescaled(networks[0], torch.full((len(self.classes_),), 1 / self.temperature_), torch.zeros(()))

    def _calibration_lines(self) -> list[tuple[str, object]]:
        rows = len(self.conformal_.scores)
        return [("calibration rows", rows), ("temperature", self.temperature_)] if rows else [("calibration rows", 0)]
