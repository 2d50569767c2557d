"""Estimators of scikit-learn with dropout: `DropoutClassifier` and `DropoutRegressor`."""

from typing import TYPE_CHECKING

from thinnet._lazy import lazy as _lazy
from thinnet.report.extras import need as _need

if TYPE_CHECKING:
    from thinnet.sklearn.classification import DropoutClassifier as DropoutClassifier
    from thinnet.sklearn.regression import DropoutRegressor as DropoutRegressor

_PLACES = {
    "DropoutClassifier": "thinnet.sklearn.classification",
    "DropoutRegressor": "thinnet.sklearn.regression",
}

if not TYPE_CHECKING:
    _load, __dir__, __all__ = _lazy(__name__, _PLACES)

    def __getattr__(name: str) -> object:
        if name in _PLACES:
            _need("sklearn", f"thinnet.sklearn.{name}")
        return _load(name)
