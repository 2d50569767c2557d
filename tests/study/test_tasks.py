"""The scores of classification and regression."""

import numpy as np
import pytest
import torch

from thinnet.study.data.tasks import Classification, Regression


def test_classification_scores():
    task = Classification(("a", "b"))
    output, y = torch.tensor([[0.0, 0.0], [5.0, -5.0]]), torch.tensor([0, 1])
    assert task.loss(output, y)[0].item() == pytest.approx(np.log(2))
    assert task.error(output, y).tolist() == [0, 1]


def test_regression_error_is_in_the_unit_of_the_target():
    task = Regression(mean=100.0, scale=10.0)
    output, y = torch.tensor([[0.0], [0.5]]), torch.tensor([0.3, 0.0])
    errors = task.error(output, y)
    assert task.total(errors.mean().item()) == pytest.approx(np.sqrt((3.0**2 + 5.0**2) / 2))


def test_rmse_difference_is_the_mean_of_its_matrix():
    rng = np.random.default_rng(1)
    a, b = rng.random((4, 30)), rng.random((4, 30)) + 0.5
    d = Regression(0.0, 1.0).error_difference(a, b)
    assert d.mean() == pytest.approx(np.sqrt(a.mean()) - np.sqrt(b.mean()))


def test_rmse_difference_has_the_spread_of_repeated_draws():
    rng = np.random.default_rng(2)
    draws = [(rng.exponential(1.0, 400), rng.exponential(1.5, 400)) for _ in range(2000)]
    measured = np.std([np.sqrt(a.mean()) - np.sqrt(b.mean()) for a, b in draws])
    a, b = draws[0]
    declared = Regression(0.0, 1.0).error_difference(a[None], b[None]).std() / np.sqrt(400)
    assert declared == pytest.approx(measured, rel=0.2)


def test_rmse_difference_of_a_perfect_network_is_finite():
    assert np.isfinite(Regression(0.0, 1.0).error_difference(np.zeros((2, 3)), np.ones((2, 3)))).all()
