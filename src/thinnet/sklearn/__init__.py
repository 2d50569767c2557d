"""Estimators of scikit-learn with dropout: `DropoutClassifier` and `DropoutRegressor`."""

from typing import TYPE_CHECKING

from thinnet._lazy import lazy as _lazy

if TYPE_CHECKING:
    from thinnet.sklearn.classification import DropoutClassifier as DropoutClassifier
    from thinnet.sklearn.regression import DropoutRegressor as DropoutRegressor

_PLACES = {
    "DropoutClassifier": "thinnet.sklearn.classification",
    "DropoutRegressor": "thinnet.sklearn.regression",
}

__getattr__, __dir__ = _lazy(__name__, _PLACES)
