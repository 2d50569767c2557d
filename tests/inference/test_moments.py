"""Moments of a model in one pass: exact without an activation, traced through forward methods, compared with sampling."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from assertions import FALSE_ALARM
from scipy import stats
from torch import Tensor, nn

import thinnet
from thinnet.inference.deterministic.moments import moments
from thinnet.inference.enumeration.subnetworks import Subnetworks

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def layers() -> nn.Sequential:
    torch.manual_seed(1)
    hidden = nn.Linear(4, 6), nn.ReLU(), nn.Dropout(0.25), nn.Linear(6, 3)
    return nn.Sequential(*hidden).double()


class Chain(nn.Module):
    """The same as a forward method, with functions, sums and products with numbers."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__()
        self.first, self.last = inner[0], inner[3]

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x.view(len(X), 2, 2).flatten(1)))
        if self.training:
            x = F.dropout(x, 0.25)
        return 3 * (self.last(x) + 1.0) - 3


class Residual(nn.Module):
    """Two branches with the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.layer = nn.Dropout(0.5), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        return x + self.layer(x)


class Branching(nn.Module):
    """A forward method that branches on values."""

    def forward(self, x: Tensor) -> Tensor:
        return x if bool((x > 0).all()) else -x


class Sorted(nn.Module):
    """A function without a rule."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sort(x)[0]


def test_behind_the_last_activation_the_moments_are_exact() -> None:
    model = layers()
    networks = Subnetworks(model, X)
    numbers = torch.arange(1 << networks.units)
    outputs, weights = networks.outputs(numbers), networks.probabilities(numbers)
    mean = torch.tensordot(weights, outputs, 1)
    found = moments(model, X, n=None)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.variance, torch.tensordot(weights, (outputs - mean).square(), 1))
    assert torch.equal(found.std, found.variance.sqrt()) and found.kind == "logits" and found.sampled is None


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_method_is_traced(training: bool) -> None:
    model = layers()
    chain = Chain(model).train(training)
    one, other = moments(model, X, n=None), moments(chain, X, n=None)
    assert chain.training is training
    torch.testing.assert_close(other.mean, 3 * one.mean)
    torch.testing.assert_close(other.variance, 9 * one.variance)


def test_thinnet_sites_and_a_custom_rule() -> None:
    model = nn.Sequential(layers(), nn.LayerNorm(3)).double()
    ours = nn.Sequential(*(thinnet.nn.Dropout(0.25) if isinstance(m, nn.Dropout) else m for m in model[0]))  # type: ignore[arg-type]
    torch.testing.assert_close(moments(ours, X, n=None).variance, moments(model[0], X, n=None).variance)
    seen = moments(model, X, n=None, rules={nn.LayerNorm: lambda module, m: m})
    torch.testing.assert_close(seen.mean, moments(ours, X, n=None).mean)


def test_the_difference_from_sampling_is_within_its_error() -> None:
    found = moments(layers(), X, n=2000, seed=3)
    rows = {row["statistic"]: row for row in found.rows()}
    assert list(rows) == ["mean", "std", "probability"]
    limit = stats.norm.isf(FALSE_ALARM / 2 / found.mean.numel())
    draws = found.sampled.draws  # type: ignore[union-attr]
    assert bool(((draws.mean(0) - found.mean).abs() <= limit * found.std / len(draws) ** 0.5).all())
    assert rows["mean"]["mean |difference|"] < 3 * rows["mean"]["Monte-Carlo error"]  # the mean is exact here
    assert rows["mean"]["mean |difference|"] > 0.1 * rows["mean"]["Monte-Carlo error"]
    assert rows["std"]["mean |difference|"] < 3 * rows["std"]["Monte-Carlo error"]
    assert str(found).splitlines()[1].split("  ")[0] == "statistic"
    torch.testing.assert_close(found.probabilities.sum(-1), torch.ones(5).double())


def test_the_model_is_unchanged() -> None:
    model = layers().train()
    state = torch.get_rng_state()
    moments(model, X, n=None)
    assert model.training and torch.equal(torch.get_rng_state(), state)
    values = moments(model, X, n=None, kind="values")
    assert "not compared" in str(values)
    with pytest.raises(ValueError, match="kind must be 'logits' for probabilities"):
        _ = values.probabilities
    with pytest.raises(ValueError, match="there must be draws to compare with"):
        values.rows()


BAD: list[tuple[nn.Module, str]] = [
    (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), "moments: model.1 is of class LayerNorm, which has no rule. Pass rules="),
    (Residual(), "'add' is add, whose arguments are not independent"),
    (Branching(), "Branching cannot be traced .*sample"),
    (Sorted(), "'sort' is sort, which has no rule"),
    (nn.TransformerEncoderLayer(4, 2, 4), "TransformerEncoderLayer cannot be traced"),
]


@pytest.mark.parametrize(("model", "message"), BAD)
def test_what_cannot_be_propagated_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        moments(model.double(), X, n=None)


@pytest.mark.parametrize(
    ("given", "kind", "message"),
    [
        ({"n": 1}, ValueError, "n must be an integer of at least 2; got 1"),
        ({"kind": "class"}, ValueError, "kind must be .* got 'class'"),
        (
            {"x": torch.ones(2, 4, dtype=torch.int64)},
            TypeError,
            "x must be a tensor of floating-point numbers; got torch.int64",
        ),
    ],
)
def test_bad_arguments(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        moments(layers(), **({"x": X} | given))
