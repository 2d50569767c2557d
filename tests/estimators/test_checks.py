"""Every check that scikit-learn has for estimators, with and without dropout, thinned, and as an ensemble."""

from typing import Any

import pytest

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import parametrize_with_checks

from thinnet.sklearn import DropoutClassifier, DropoutRegressor

REASON = (
    "rows with a weight and repeated rows are in other mini-batches, with other masks; scikit-learn runs this check on its own"
    " MLP with lbfgs only"
)
VARIANTS: list[dict[str, Any]] = [
    {},
    {"dropout": 0.0},
    {"thin": True, "dropout": 0.5},
    {"n_estimators": 2, "input_dropout": 0.1},
]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (48,), "max_epochs": 25, "learning_rate": 1e-2}
ESTIMATORS = [kind(**SMALL | each) for kind in (DropoutClassifier, DropoutRegressor) for each in VARIANTS]


def expected_failures(estimator: Any) -> dict[str, str]:
    names = ("check_sample_weight_equivalence_on_dense_data", "check_sample_weight_equivalence_on_sparse_data")
    return dict.fromkeys(names, REASON)


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures, xfail_strict=False)
def test_checks_of_scikit_learn_pass(estimator: Any, check: Any) -> None:
    check(estimator)
