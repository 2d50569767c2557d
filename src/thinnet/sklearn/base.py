"""What the classifier and the regressor share: training, ensembles, early stopping and calibration rows."""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from thinnet.report.progress import Progress, progressing
from thinnet.report.table import Table
from thinnet.sklearn import settings
from thinnet.sklearn.automatic import TRIALS, choose_rate
from thinnet.sklearn.draws import draws
from thinnet.sklearn.member import Loss, Member, Recipe, Seeds
from thinnet.sklearn.rates import AUTO, Rates, kind_of, rates_of
from thinnet.sklearn.rows import Rows
from thinnet.sklearn.summary import summary


class DropoutEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """A multilayer perceptron with dropout as an estimator of scikit-learn; `DropoutClassifier` documents the parameters."""

    _loss: ClassVar[Loss]
    _score: ClassVar[Callable[..., float]]
    members_: list[Member]
    random_root_: int
    n_features_in_: int

    def __init__(
        self,
        hidden_layer_sizes: Any = (128, 128),
        *,
        dropout: Any = 0.1,
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
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.method = method
        self.thin = thin
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.weight_decay = weight_decay
        self.calibration = calibration
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.warm_start = warm_start
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _fit(self, rows: Rows, stratify: bool) -> Any:
        """Trains all members on validated rows."""
        rows, name = rows.counted(), type(self).__name__
        goes_on = settings.flag(name, "warm_start", self.warm_start) and hasattr(self, "members_")
        root = self.random_root_ if goes_on else int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        calibration = None
        if held := settings.calibration_rows(name, self.calibration, len(rows)):
            rows, calibration = rows.split(held, root, stratify)
        if not goes_on:
            self._fit_targets(rows)
        rows = self._prepared(rows)
        everything, validation = rows, None
        if settings.flag(name, "early_stopping", self.early_stopping):
            rows, validation = rows.split(self._validation_rows(rows), root + 1, stratify)
        recipe, started = self._recipe(len(rows)), time.perf_counter()
        if goes_on:
            self._check_same(recipe, rows.x.shape[1])
        else:
            self.random_root_ = root
        searches = not goes_on and isinstance(self.dropout, str) and bool(recipe.hidden)
        shown, log = (None, _say) if self.verbose else (False, None)
        total = recipe.epochs * (self.n_estimators + (TRIALS if searches else 0))
        with progressing("epochs", total, shown=shown, log=log) as progress:
            if searches:
                recipe = self._with_best_rate(recipe, everything, stratify, root, progress)
            if not goes_on:
                self._start(recipe, rows.x.shape[1])
            self._train(recipe, rows, validation, progress)
        self._finish(recipe)
        if self.verbose:
            _say(f"{name}: {self.n_iter_} epochs, training loss {self.loss_:.4g}, {time.perf_counter() - started:.1f} s")
        if calibration is not None:
            self._calibrate(self._prepared(calibration))
        else:
            self._uncalibrated()
        return self

    def _train(self, recipe: Recipe, rows: Rows, validation: Rows | None, progress: Progress) -> None:
        if len(self.members_) == 1:
            self.members_[0].train(recipe, rows, validation, progress)
            return
        work = (delayed(Member.train)(member, recipe, rows, validation) for member in self.members_)
        trained: Any = Parallel(n_jobs=self.n_jobs, return_as="generator")(work)
        members = []
        for member in trained:
            members.append(member)
            progress.advance(recipe.epochs, f"loss {member.losses[-1]:.4g}")
        self.members_ = members

    def _partial_fit(self, rows: Rows) -> Any:
        """Trains all members for one epoch."""
        rows, first = rows.counted(), not hasattr(self, "members_")
        if first:
            self._fit_targets(rows)
        rows = self._prepared(rows)
        recipe = self._recipe(len(rows), epochs=1)
        if first:
            if isinstance(self.dropout, str):
                rule = f"{type(self).__name__}.partial_fit: dropout must be a rate, a list of rates or a schedule"
                raise ValueError(f"{rule}; got {self.dropout!r}. Call fit to choose a rate.")
            self.random_root_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            self._start(recipe, rows.x.shape[1])
        self._check_same(recipe, rows.x.shape[1])
        for member in self.members_:
            member.train(recipe, rows)
        self._finish(recipe)
        self._uncalibrated()
        return self

    def _recipe(self, rows: int, epochs: int | None = None) -> Recipe:
        """Checks the parameters."""
        name = type(self).__name__
        hidden = settings.widths(name, self.hidden_layer_sizes)
        batch = settings.batch_size(name, self.batch_size, rows)
        rate = self._auto_rate() if isinstance(self.dropout, str) else self.dropout
        decay = settings.number(name, "weight_decay", self.weight_decay, 0.0)
        settings.count(name, "n_estimators", self.n_estimators)
        return Recipe(
            owner=name,
            hidden=hidden,
            outputs=self._outputs(),
            rates=rates_of(name, rate, self.input_dropout, len(hidden)),
            kind=kind_of(name, self.method),
            groups=settings.groups(name, self.thin, self.method, self.dropout, batch),
            learning_rate=settings.number(name, "learning_rate", self.learning_rate, 0.0, open_low=True),
            decay=decay,
            batch=batch,
            epochs=epochs or settings.count(name, "max_epochs", self.max_epochs),
            patience=settings.count(name, "n_iter_no_change", self.n_iter_no_change),
            device=settings.device_of(name, self.device),
            loss=self._loss,
            score=self._score,
        )

    def _auto_rate(self) -> Any:
        """Returns the chosen rate; before the search, any."""
        if self.dropout != AUTO:
            return self.dropout  # `rates_of` refuses it
        return getattr(self, "dropout_", 0.0) if self.warm_start else 0.0

    def _with_best_rate(self, recipe: Recipe, rows: Rows, stratify: bool, root: int, progress: Progress) -> Recipe:
        """Chooses the rate, for `dropout="auto"`."""
        found = choose_rate(recipe, rows, self._validation_rows(rows), stratify, root, self.n_jobs, progress)
        self.dropout_search_, best = found, min(found, key=lambda rate: found[rate])
        if self.verbose:
            _say(f"{recipe.owner}: dropout={best} has the lowest validation loss of {len(found)} rates, {found[best]:.4g}")
        return replace(recipe, rates=Rates((best,) * len(recipe.hidden), recipe.rates.input))

    def _validation_rows(self, rows: Rows) -> int:
        name = type(self).__name__
        share = settings.number(name, "validation_fraction", self.validation_fraction, 0.0, 1.0, open_low=True)
        return settings.held_out(name, "validation_fraction", share, len(rows))

    def _check_same(self, recipe: Recipe, features: int) -> None:
        """Refuses to go on with networks of another form."""
        if len(self.members_) != self.n_estimators or not self.members_[0].fits(recipe, features):
            rule = f"{recipe.owner}: a fitted network must keep its features, widths, method and input_dropout site"
            got = f"{features} features and hidden_layer_sizes={recipe.hidden}"
            raise ValueError(f"{rule}, and n_estimators; got others, with {got}. Use clone(estimator), or warm_start=False.")

    def _start(self, recipe: Recipe, features: int) -> None:
        seeds = (Seeds.of(self.random_root_, number) for number in range(self.n_estimators))
        self.members_ = [Member(recipe, features, each) for each in seeds]

    def _finish(self, recipe: Recipe) -> None:
        """Sets the attributes that describe the training."""
        members, first = self.members_, self.members_[0]
        self.n_iter_ = max(member.epoch for member in members)
        self.loss_curve_ = _mean_curve([member.losses for member in members])
        self.loss_ = self.loss_curve_[-1]
        self.dropout_ = recipe.rates.at_end(first.step) if recipe.hidden else recipe.rates.input
        self.validation_scores_ = _mean_curve([member.validation_scores for member in members]) or None
        self.validation_loss_curve_ = _mean_curve([member.validation_losses for member in members]) or None
        self._n_features_out = sum((recipe.hidden or (self.n_features_in_,))[-1] for _ in members)

    def _inputs(self, X: Any) -> Any:
        """Checks the inputs of a prediction."""
        check_is_fitted(self)
        kinds = [np.float64, np.float32]
        return validate_data(self, X, accept_sparse="csr", dtype=kinds, order="C", reset=False)

    def _passes(self, x: Any) -> Tensor:
        """Returns the output of the single pass of each member, (members, N, outputs)."""
        return torch.stack([member.outputs(x) for member in self.members_])

    def _draws(self, x: Any, n: int) -> Tensor:
        return draws(self.members_, x, n, self.random_root_)

    def transform(self, X: Any) -> np.ndarray:
        """Returns the last hidden layer of each network, without dropout.

        Args:
            X: (N, features).

        Returns: (N, units of the last hidden layer times the networks).
        """
        x = self._inputs(X)
        return torch.cat([member.outputs(x, hidden=True) for member in self.members_], 1).numpy()

    def to_torch(self) -> nn.Module:
        """Returns a copy of the fitted network as a PyTorch module in eval mode, in float32.

        It gives logits, at the temperature of the calibration, or values in the unit of the target. An ensemble is one module.
        """
        check_is_fitted(self)
        return self._module().eval()

    def summary_(self) -> Table:
        """Returns a table of the network, its training and its calibration; it prints, and notebooks show it."""
        check_is_fitted(self)
        return summary(self)

    @abstractmethod
    def _fit_targets(self, rows: Rows) -> None:
        """Sets what the targets of the training rows, and of no others, decide."""

    @abstractmethod
    def _prepared(self, rows: Rows) -> Rows:
        """Returns the rows with the targets that the network learns."""

    @abstractmethod
    def _outputs(self) -> int:
        """Returns the number of outputs of the network."""

    @abstractmethod
    def _calibrate(self, rows: Rows) -> None:
        """Calibrates on rows that were held out."""

    @abstractmethod
    def _uncalibrated(self) -> None:
        """Sets what is calibrated to its value without calibration rows."""

    @abstractmethod
    def _module(self) -> nn.Module:
        """Returns the module of `to_torch`."""

    @abstractmethod
    def _calibration_lines(self) -> list[tuple[str, object]]:
        """Returns the rows of `summary_` on the calibration."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.non_deterministic = False
        return tags


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _mean_curve(curves: list[list[float]]) -> list[float]:
    """Returns the mean over the members that still train at an epoch."""
    longest = max(map(len, curves))
    return [float(np.mean([curve[epoch] for curve in curves if epoch < len(curve)])) for epoch in range(longest)]
