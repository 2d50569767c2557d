"""Statistics of draws: identities of entropies, quantiles, and Monte-Carlo errors that a simulation confirms."""

import math

import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from thinnet.inference import Prediction, precision

N, ROWS, CLASSES = 200, 6, 4


def logits(n: int = N, rows: int = ROWS) -> Tensor:
    """Draws around different centres with different spreads; all draws of the last row are equal."""
    centre = torch.randn(rows, CLASSES) * 2
    spread = torch.linspace(1.5, 0.0, rows)[:, None]
    return centre + spread * torch.randn(n, rows, CLASSES)


def assert_close(one: Tensor, other: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def test_entropies_follow_their_formulas() -> None:
    draws = logits()
    found, p = Prediction(draws, "logits"), draws.softmax(-1)
    mean = p.mean(0)
    assert_close(found.mean, mean)
    assert_close(found.std, p.std(0))
    assert_close(found.probabilities, p)
    assert_close(found.entropy, torch.distributions.Categorical(probs=mean).entropy(), 1e-5)
    assert_close(found.expected_entropy, torch.distributions.Categorical(probs=p).entropy().mean(0), 1e-5)
    divergence = (p * (p.log() - mean.log())).sum(-1).mean(0)
    assert_close(found.mutual_information, divergence, 1e-5)
    votes = torch.stack([(draws.argmax(-1) == c).float().mean(0) for c in range(CLASSES)])
    assert_close(found.variation_ratio, 1 - votes.amax(0))


def test_entropy_is_the_sum_of_its_parts() -> None:
    for draws in (logits(), logits() * 100, logits().half(), logits().double()):
        found = Prediction(draws, "logits")
        tolerance = 1e-3 if draws.dtype == torch.float16 else 1e-6
        assert_close(found.entropy, found.expected_entropy + found.mutual_information, tolerance)
        assert bool((found.mutual_information >= 0).all()) and found.entropy.dtype == draws.dtype


def test_equal_draws_have_no_uncertainty_of_the_model() -> None:
    found = Prediction(logits(rows=1).mean(0).expand(8, 1, CLASSES), "logits")
    error = dict(found.error)
    assert float(error.pop("variation_ratio")) > 0.1  # eight draws of one class do not exclude others
    for value in (found.mutual_information, found.std, found.variation_ratio, *error.values()):
        assert float(value.abs().max()) < 1e-7


def test_extreme_logits_give_finite_statistics() -> None:
    draws = torch.tensor([[[1e4, -1e4, 0.0]], [[-torch.inf, 0.0, 0.0]]])
    found = Prediction(draws, "logits")
    assert_close(found.mean, torch.tensor([[0.5, 0.25, 0.25]]))
    assert_close(found.entropy, torch.tensor([1.5 * math.log(2)]))
    assert_close(found.expected_entropy, torch.tensor([math.log(2) / 2]))
    for value in (found.std, found.mutual_information, *found.error.values()):
        assert bool(value.isfinite().all())


def test_torchmetrics_scores_the_mean_probabilities() -> None:
    found, target = Prediction(logits(), "logits"), torch.arange(ROWS) % CLASSES
    by_hand = (found.mean.argmax(-1) == target).float().mean()
    assert_close(multiclass_accuracy(found.mean, target, CLASSES, average="micro"), by_hand)


def test_quantiles_are_those_of_pytorch() -> None:
    draws, q = torch.randn(31, 5, 2), [0.0, 0.05, 0.5, 0.975, 1.0]
    found = Prediction(draws, "values")
    assert_close(found.quantiles(q), torch.quantile(draws, torch.tensor(q), 0))
    assert_close(found.quantiles(0.3), torch.quantile(draws, 0.3, 0))
    assert_close(Prediction(draws, "logits").quantiles(0.3), torch.quantile(draws.softmax(-1), 0.3, 0))


def test_the_variance_of_values_adds_that_of_the_data() -> None:
    draws, aleatoric = torch.randn(40, 5, 2), torch.rand(40, 5, 2)
    own = draws.var(0, correction=0)
    assert_close(Prediction(draws, "values").variance(), own)
    assert_close(Prediction(draws, "values", aleatoric=aleatoric).variance(), own + aleatoric.mean(0))
    assert_close(Prediction(draws, "values", aleatoric=aleatoric).variance(tau=4.0), own + 0.25)
    assert precision(0.1, 2.0, 100, 0.01) == pytest.approx(0.9 * 4 / 2)


STATISTICS = ("mean", "std", "entropy", "expected_entropy", "mutual_information", "variation_ratio")


def test_the_stated_error_is_the_spread_of_repeated_runs() -> None:
    """400 runs of 200 draws: the spread of the statistic over runs against the error that each run states.

    A standard deviation of 400 numbers has itself a standard error of 1 / sqrt(800) = 3.5 %. The limit of 25 % is 7 of these,
    which leaves room for the terms that a first-order error ignores. Rows with nearly equal draws are left out.
    """
    centre, spread = torch.randn(4, CLASSES), torch.tensor([1.0, 1.5, 2.0, 0.7])[:, None]
    runs = [Prediction(centre + spread * torch.randn(N, 4, CLASSES), "logits") for _ in range(400)]
    for statistic in STATISTICS:
        measured = torch.stack([getattr(run, statistic) for run in runs]).double().std(0)
        stated = torch.stack([run.error[statistic] for run in runs]).double().square().mean(0).sqrt()
        ratio = (measured / stated).flatten()
        assert 0.75 < float(ratio.min()) and float(ratio.max()) < 1.25, (statistic, ratio)


def test_the_error_of_quantiles_is_the_spread_of_repeated_runs() -> None:
    runs = [Prediction(torch.randn(N, 1), "values") for _ in range(800)]
    for q in (0.1, 0.5, 0.9):
        measured = torch.stack([run.quantiles(q) for run in runs]).std()
        stated = torch.stack([run.quantile_error(q) for run in runs]).square().mean().sqrt()
        assert 0.75 < float(measured / stated) < 1.25, (q, measured, stated)


def test_enough_gives_the_n_that_is_needed() -> None:
    few = Prediction(torch.randn(50, 300), "values")
    answer = few.enough(0.05)
    assert not answer and str(answer).startswith("n = 50 is not enough") and f"Use n = {answer.needed}." in str(answer)
    many = Prediction(torch.randn(2 * answer.needed, 300), "values").enough(0.05)
    assert many and "is enough: the standard error of the mean is at most" in str(many) and many.needed <= 2 * answer.needed
    assert answer.needed == math.ceil(50 * (float(few.error["mean"].max()) / 0.05) ** 2)
    assert Prediction(logits(), "logits").enough(0.2, "mutual_information").statistic == "mutual_information"


def test_a_single_draw_has_no_error() -> None:
    one = Prediction(torch.randn(1, 3), "values")
    assert bool(one.error["mean"].isnan().all()) and bool(one.std.isnan().all())
    with pytest.raises(ValueError, match="n must be 2 or more"):
        one.enough(0.1)


def test_a_prediction_prints_as_a_table() -> None:
    found = Prediction(logits(), "logits", False, ("a note",))
    text = str(found).splitlines()
    assert text[0] == "200 draws of 6 samples, logits of shape (4,), not every mask addressed"
    assert [line.split("  ")[0] for line in text[2:7]] == [
        "std",
        "entropy",
        "expected entropy",
        "mutual information",
        "variation ratio",
    ]
    assert text[-1] == "note: a note" and max(map(len, text)) <= 80
    assert '<td style="text-align: left">expected entropy</td>' in found._repr_html_()
    assert "1 draws of 0 samples" in str(Prediction(torch.zeros(1, 0), "values"))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of logits, values; got 'probabilities'"):
        Prediction(torch.zeros(2, 2, 2), "probabilities")
    with pytest.raises(TypeError, match=r"floating-point numbers; got torch.int64"):
        Prediction(torch.zeros(2, 2, 2).long(), "logits")
    with pytest.raises(ValueError, match=r"draws must have shape \(n, B, ...\), n >= 1; got \(0, 2\)"):
        Prediction(torch.zeros(0, 2), "values")
    with pytest.raises(ValueError, match=r"two or more classes on the last axis; got draws of shape \(2, 2, 1\)"):
        Prediction(torch.zeros(2, 2, 1), "logits")
    with pytest.raises(ValueError, match="NaN in 2 of 3 rows"):
        Prediction(torch.tensor([[0.0, torch.nan, 1.0], [torch.nan, 0.0, 1.0]]), "values")
    for wrong in ([math.inf, 0.0], [-math.inf, -math.inf]):  # no softmax
        with pytest.raises(ValueError, match=r"the largest logit of a draw must be finite.*; got others in 1 of 2 rows"):
            Prediction(torch.tensor([[wrong, [0.0, -math.inf]]]), "logits")
    found = Prediction(torch.zeros(2, 2), "values")
    with pytest.raises(ValueError, match="kind must be 'logits' for probabilities"):
        _ = found.entropy
    with pytest.raises(ValueError, match="kind must be 'values'; got 'logits'"):
        Prediction(torch.zeros(2, 2, 2), "logits").variance()
    with pytest.raises(ValueError, match="tau must be positive; got -1"):
        found.variance(tau=-1.0)
    for q in (1.5, [], [0.1, math.nan]):
        with pytest.raises(ValueError, match=r"q must be levels in 0 \.\. 1"):
            found.quantiles(q)
    for tolerance in (0.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="tolerance must be a positive number"):
            found.enough(tolerance)
    with pytest.raises(ValueError, match="statistic must be one of mean, std; got 'entropy'"):
        found.enough(0.1, "entropy")
    for wrong in ({"p": 1.0}, {"length_scale": 0.0}, {"samples": 0}, {"weight_decay": -1.0}):
        with pytest.raises(ValueError, match=f"precision: {next(iter(wrong))} must be"):
            precision(**({"p": 0.1, "length_scale": 1.0, "samples": 10, "weight_decay": 0.1} | wrong))  # type: ignore[arg-type]
