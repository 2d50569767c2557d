"""Calibration: scores equal their definitions, fits have known answers, no test case enters a fit."""

import math
import re

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_calibration_error

import thinnet
from thinnet.inference.calibration import fitting, scores
from thinnet.inference.calibration.calibration import calibrate
from thinnet.inference.calibration.scorer import Scorer, ends
from thinnet.inference.monte_carlo.prediction import Prediction

PARTS = {"validation": slice(20), "test": slice(20, None)}
FEW = {"n": 8, "resamples": 100, "factors": ()}


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.ReLU(), thinnet.nn.Dropout(0.4), nn.BatchNorm1d(16), nn.Linear(16, outputs))


def labels(cases: int = 40, classes: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(cases, 4), torch.randint(classes, (cases,))


def values(cases: int = 40) -> tuple[Tensor, Tensor]:
    return torch.randn(cases, 4), torch.randn(cases)


def predicted(cases: int, classes: int = 4, n: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(cases)
    draws = 2 * torch.randn(n, cases, classes, generator=generator, dtype=torch.float64)
    return draws, torch.randint(classes, (cases,), generator=generator)


def assert_rows_equal(one, other) -> None:
    assert one.scores.keys() == other.scores.keys()
    for name, score in one.scores.items():
        assert score.value == pytest.approx(other.scores[name].value, abs=1e-6), name


@pytest.mark.parametrize("cases", [7, 100, 333])
@pytest.mark.parametrize("bins", [1, 5, 15])
def test_the_weighted_calibration_error_equals_torchmetrics_with_equal_weights(cases: int, bins: int) -> None:
    draws, y = predicted(cases)
    p = fitting.log_probabilities(draws).exp()
    confidence, guess = p.max(-1)
    correct = (guess == y).double()
    whole = torch.ones(1, cases, dtype=torch.float64)
    ours = scores.gap(confidence, correct, scores.equal_width(confidence, bins))(whole).item()
    assert ours == pytest.approx(multiclass_calibration_error(p, y, 4, n_bins=bins).item(), abs=1e-6)
    groups = scores.equal_count(confidence, bins)
    assert groups.bincount().max() - groups.bincount().min() <= 1
    assert groups[confidence.argsort()].diff().ge(0).all()


def test_the_scores_of_labels_are_their_definitions() -> None:
    draws, y = predicted(60)
    p = draws.softmax(-1).mean(0)
    row = Scorer(y, 15, 100, 0).labels("row", draws)
    found = {name: score.value for name, score in row.scores.items()}
    assert found["NLL"] == pytest.approx(-p[range(60), y].log().mean().item())
    squares = [(p[i, c].item() - int(y[i] == c)) ** 2 for i in range(60) for c in range(4)]
    assert found["Brier"] == pytest.approx(sum(squares) / 60)
    assert found["error"] == pytest.approx((p.argmax(-1) != y).double().mean().item(), abs=1e-6)
    wrong = (p.argmax(-1) != y)[p.amax(-1).sort(descending=True, stable=True).indices].double()
    assert found["AURC"] == pytest.approx(sum(wrong[: k + 1].mean().item() for k in range(60)) / 60)
    assert row.selective[-1] == pytest.approx((1.0, wrong.mean().item()))
    assert sum(cases for *_, cases in row.reliability) == 60
    gap = sum(abs(right - sure) * cases / 60 for sure, right, cases in row.reliability)
    assert found["adaptive ECE"] == pytest.approx(gap)


def test_the_scores_of_values_are_their_definitions() -> None:
    generator = torch.Generator().manual_seed(1)
    draws, y = torch.randn(5, 30, 2, generator=generator).double(), torch.randn(30, 2, generator=generator).double()
    variance = torch.tensor(0.3).double()
    row = Scorer(y, 15, 100, 0).values("row", draws, variance)
    p = (-(y - draws).square() / 0.6).exp().mean(0) / math.sqrt(0.6 * math.pi)
    assert row.scores["NLL"].value == pytest.approx(-p.log().mean().item())
    assert row.scores["RMSE"].value == pytest.approx((draws.mean(0) - y).square().mean().sqrt().item(), rel=1e-6)
    low, high = ends(draws, variance, 0.025), ends(draws, variance, 0.975)
    inside = ((low <= y) & (y <= high)).double().mean().item()
    assert row.scores["coverage of 95 %"].value == pytest.approx(inside)
    assert row.scores["width of 95 %"].value == pytest.approx((high - low).mean().item())


def test_a_quantile_of_a_mixture_has_its_level() -> None:
    draws = torch.tensor([-4.0, 0.0, 7.0]).double()[:, None, None]
    for level in (0.025, 0.4, 0.9):
        at = ends(draws, torch.tensor(4.0).double(), level).item()
        assert stats.norm.cdf(at, [-4, 0, 7], 2).mean() == pytest.approx(level, abs=1e-9)


def test_a_temperature_scales_with_the_logits_and_takes_the_loss_down() -> None:
    draws, _ = predicted(4000, n=1)
    y = torch.multinomial((draws[0] / 2).softmax(-1), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    cool = fitting.fit_temperature(draws, y)
    assert fitting.fit_temperature(3 * draws, y) == pytest.approx(3 * cool, rel=1e-2)  # up to the prior

    def loss(temperature: float) -> float:
        return nn.functional.nll_loss(fitting.log_probabilities(draws, temperature), y).item()

    assert loss(cool) <= min(loss(1.0), loss(cool * 1.05), loss(cool / 1.05))


def test_a_few_correct_cases_do_not_bring_the_temperature_to_zero() -> None:
    draws = 3.0 * torch.eye(3).repeat(10, 1)[None]
    assert 0.3 < fitting.fit_temperature(draws, torch.arange(3).repeat(10)) < 1


def test_predicted_noise_is_used_and_its_factor_is_fitted() -> None:
    model, (x, y) = network(2), values(400)
    parts = {"validation": (x[:200], y[:200]), "test": (x[200:], y[200:])}
    found = calibrate(model, **parts, kind="mean_and_log_variance", n=8, resamples=100, factors=())
    names = ["single pass", "single pass, variance", "Monte-Carlo", "Monte-Carlo, variance"]
    assert [row.name for row in found.rows] == names
    mean, log_variance = model.eval()(x).detach().double().split(1, 1)
    squares = (y[:, None] - mean).square() / log_variance.exp()
    assert found["single pass, variance"].fitted["factor of variance"] == pytest.approx(squares[:200].mean().item(), rel=1e-3)
    nll = (squares + log_variance + math.log(2 * math.pi)) / 2
    assert found["single pass"].scores["NLL"].value == pytest.approx(nll[200:].mean().item(), rel=1e-5)


def test_models_with_several_inputs_and_outputs_and_any_batch_size() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = network()

        def forward(self, x: Tensor, more: Tensor) -> dict[str, Tensor]:
            return {"features": x, "scores": self.body(x + more)}

    model, (x, y) = Two(), labels()
    parts = {part: (tuple((x[rows], 0 * x[rows])), y[rows]) for part, rows in PARTS.items()}
    found = calibrate(model, **parts, output="scores", **FEW, batch_size=7)
    plain = calibrate(model.body, **{part: (x[rows], y[rows]) for part, rows in PARTS.items()}, **FEW)
    assert_rows_equal(found["single pass, temperature"], plain["single pass, temperature"])


def test_tau_of_a_single_pass_is_one_over_its_mean_squared_error() -> None:
    x, y = values()
    model = network(1)
    found = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), **FEW)
    model.eval()
    error = (model(x[:20]).squeeze(-1) - y[:20]).square().mean().item()
    assert found["single pass, tau"].fitted["tau"] == pytest.approx(1 / error, rel=1e-3)
    row = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), tau=2.0, **FEW)["single pass"]
    error = (model(x[20:]).squeeze(-1) - y[20:]).square().mean().item()
    assert row.scores["NLL"].value == pytest.approx(error - math.log(2) / 2 + math.log(2 * math.pi) / 2, rel=1e-5)


@pytest.mark.parametrize("data", [labels, values])
def test_no_test_case_enters_a_fit(data) -> None:
    (x, y), (other_x, other_y) = data(), data()
    model = network(3 if data is labels else 1)
    one, other = (
        calibrate(model, validation=(x, y), test=test, n=8, resamples=100, factors=(0.5, 1.0, 2.0))
        for test in ((x + 1, y.roll(1)), (other_x, other_y))
    )
    assert one.curve == other.curve and one.rates == other.rates
    assert [row.fitted for row in one.rows] == [row.fitted for row in other.rows]


def test_test_cases_that_are_validation_cases_are_refused_or_counted() -> None:
    (x, y), model = labels(), network().eval()
    with pytest.raises(ValueError, match="test must hold other cases than validation; got the same"):
        calibrate(model, validation=(x, y), test=(x.flip(0), y.flip(0)), **FEW)
    first, second, *_ = calibrate(model, validation=(x[:25], y[:25]), test=(x[20:], y[20:]), **FEW).notes
    assert "fitted on 25 cases, scored on 20;" in first
    assert second.startswith("5 of the test cases equal a validation case")
    apart = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), **FEW).notes
    assert "scored on 20 others" in apart[0] and not any("equal a validation case" in note for note in apart)


def test_no_interval_of_labels_is_below_zero() -> None:
    draws = torch.tensor([[[9.0, 0.0]] * 4], dtype=torch.float64)
    row = Scorer(torch.tensor([0, 0, 0, 1]), 5, 200, 0).labels("", draws)
    assert all(score.low >= 0 for score in row.scores.values())


def test_the_model_and_its_mode_are_unchanged() -> None:
    model, (x, y) = network().train(), labels()
    model[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), n=8, resamples=100, rates=(0.1, 0.8))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, False, True, True, True] and model.training
    assert model[2].p == 0.4 and set(found.curve) == {0.1, 0.8}
    best = min(found.curve, key=found.curve.__getitem__)
    assert found.rates == {"2": best} and found["Monte-Carlo, rates"].fitted == {"rate": best}


def test_rates_are_restored_after_an_error() -> None:
    model, (x, y) = network(), labels()
    calls = []

    def fail(module: nn.Module, args: object) -> None:
        calls.append(model[2].p)
        if model[2].p != 0.4:
            raise RuntimeError("out of memory")

    model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), n=8, resamples=100, factors=(0.5,))
    assert model[2].p == 0.4 and 0.2 in [pytest.approx(p, abs=1e-4) for p in calls]


def test_factor_one_changes_nothing_and_a_factor_that_reaches_rate_1_is_left_out() -> None:
    model, (x, y) = network(), labels()
    parts = {"validation": (x[:20], y[:20]), "test": (x[20:], y[20:])}
    found = calibrate(model, **parts, n=8, resamples=100, factors=(1.0, 2.5, 4.0))
    assert set(found.curve) == {1.0}
    assert_rows_equal(found["Monte-Carlo, rates"], found["Monte-Carlo"])
    none = calibrate(model, **parts, n=8, resamples=100, factors=(2.5,))
    assert len(none.rows) == 4 and any(note.startswith("no rate was refit") for note in none.notes)
    assert found.difference("Monte-Carlo, rates", "Monte-Carlo", "Brier").high == pytest.approx(0, abs=1e-6)


def test_predictions_instead_of_inputs_give_the_rows_of_the_model() -> None:
    model, (x, y) = network(), labels()
    whole = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), **FEW)
    drawn = [thinnet.inference.sample(model, part, n=8) for part in (x[:20], x[20:])]
    found = calibrate(validation=(drawn[0], y[:20]), test=(drawn[1], y[20:]), n=8, resamples=100)
    assert [row.name for row in found.rows] == ["Monte-Carlo", "Monte-Carlo, temperature"]
    for row in found.rows:
        assert_rows_equal(row, whole[row.name])


def test_notes_of_the_draws_appear_once() -> None:
    draws, y = torch.randn(6, 40, 3), labels()[1]
    parts = {part: (Prediction(draws[:, rows], "logits", notes=("not named",)), y[rows]) for part, rows in PARTS.items()}
    assert calibrate(**parts, resamples=100).notes.count("not named") == 1


def test_a_single_logit_means_two_classes() -> None:
    model, (x, y) = network(1), labels(classes=2)
    draws = torch.randn(6, 40, 1)
    two = torch.cat((torch.zeros_like(draws), draws), -1)
    one, other = (
        calibrate(validation=(Prediction(d[:, :20], k), y[:20]), test=(Prediction(d[:, 20:], k), y[20:]), resamples=100)
        for d, k in ((draws, "values"), (two, "logits"))
    )
    for row in one.rows:
        assert_rows_equal(row, other[row.name])
    found = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), **FEW)
    assert [row.name for row in found.rows][::2] == ["single pass", "Monte-Carlo"]


def test_intervals_have_the_width_of_theory_and_those_of_proportions_are_never_empty() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(400, generator=generator, dtype=torch.float64)
    statistics = {"mean": scores.mean(values), "NLL": scores.mean(values), "share": scores.mean(torch.ones(400).double())}
    found = scores.scored(statistics, {}, ("share",), 400, 4000, 0, unbounded=("NLL",))
    wide = 2 * scores.Z * values.std().item() / 20
    assert found["NLL"].high - found["NLL"].low == pytest.approx(wide, rel=0.08)  # 2000 resamples: 2 % at one sigma
    assert found["mean"].low >= 0
    assert found["share"].value == 1 and 0.98 < found["share"].low < found["share"].high == 1


def test_an_interval_is_that_of_the_basic_bootstrap() -> None:
    resampled = torch.linspace(0, 4, 401, dtype=torch.float64)  # quantiles 0.1 and 3.9, around a value of 1
    found = scores.score(1.0, resampled)
    assert (found.low, found.high) == pytest.approx((2 - 3.9, 2 - 0.1))
    assert scores.score(1.0, resampled, floor=0.0).low == 0


def test_the_area_of_a_resample_without_the_most_confident_cases_is_that_of_the_others() -> None:
    confidence, risk = torch.tensor([0.9, 0.8, 0.6]).double(), torch.tensor([1.0, 0.0, 1.0]).double()
    area = scores.area(confidence, risk)(torch.tensor([[0.0, 2.0, 1.0]]).double())
    assert area.tolist() == pytest.approx([(2 * 0 + 1 / 3) / 3])


def test_a_difference_is_paired() -> None:
    draws, y = predicted(100)
    scorer = Scorer(y, 15, 400, 0)
    one, other = scorer.labels("one", draws), scorer.labels("other", 1.02 * draws)
    alone, paired = one.scores["NLL"], one.scores["NLL"] - other.scores["NLL"]
    assert paired.low < paired.value < paired.high
    assert paired.high - paired.low < 0.1 * (alone.high - alone.low)


def test_table_json_figure_and_page_show_all_rows(tmp_path) -> None:
    model, (x, y) = network(), labels()
    found = calibrate(model, validation=(x[:20], y[:20]), test=(x[20:], y[20:]), n=8, resamples=100, factors=(0.5, 1.0))
    assert all(row.name in str(found) for row in found.rows) and "note: fitted on 20 cases, scored on 20 others" in str(found)
    assert '"Monte-Carlo, rates, temperature"' in found.json()
    names = {trace.name for trace in found.picture().data}
    assert {row.name for row in found.rows} <= names
    page = found.html(tmp_path / "new" / "page.html").read_text()
    assert "single pass, temperature" in page and not re.search(r"<(script|link)[^>]*(src|href)=[^>]?(?!data:)[a-z]", page)
    with pytest.raises(KeyError, match="a row must be one of single pass, "):
        found["nothing"]
    of_values = calibrate(network(1), validation=(x[:20], x[:20, 0]), test=(x[20:], x[20:, 0]), **FEW)
    assert {row.name for row in of_values.rows} <= {trace.name for trace in of_values.picture().data}


X, Y = torch.zeros(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
BAD = [
    ({"test": (X, Y)}, ValueError, "test must hold other cases than validation"),
    ({"test": (X + 1, Y[:5])}, ValueError, "test must have one observation a case; got 5 for 6"),
    ({"test": (X + 1, Y + 1)}, ValueError, r"labels of test must be in 0 \.\. 2; got 1 \.\. 3"),
    ({"test": (X + 1, Y.double())}, TypeError, "both parts must have labels, or both values"),
    ({"validation": (X, Y[:, None])}, ValueError, r"labels must be \(B,\); got \(6, 1\)"),
    ({"validation": X}, TypeError, r"validation must be \(x, y\) with a tensor y; got Tensor"),
    ({"validation": (X / 0, Y)}, ValueError, "outputs must be finite"),
    ({"validation": (X[:1], Y[:1])}, ValueError, "must have two cases or more; got 1"),
    ({"validation": (X, Y / torch.inf), "test": (X + 1, Y / 0)}, ValueError, "values must be finite; got nan or inf for test"),
    ({"validation": (X, Y / 1), "test": (X + 1, Y / 1)}, ValueError, r"must have the shape of the output; got \(6, 1\)"),
    ({"model": None}, TypeError, "must hold inputs and a model, or a Prediction and none; got Tensor without a model"),
    ({"kind": "mean"}, ValueError, "kind must be 'mean_and_log_variance' or left out; got 'mean'"),
    ({"kind": "mean_and_log_variance"}, ValueError, "must go with values; got labels"),
    ({"n": 1}, ValueError, "n must be an integer of at least 2; got 1"),
    ({"bins": 0}, ValueError, "bins must be a positive integer; got 0"),
    ({"resamples": 10}, ValueError, "resamples must be an integer of at least 100"),
    ({"factors": (-1.0,)}, ValueError, "factors must be at least 0"),
    ({"rates": (1.5,)}, ValueError, "calibrate: rates"),
    ({"tau": math.nan}, ValueError, "tau must be above 0 and finite; got nan"),
]


@pytest.mark.parametrize(("changed", "error", "words"), BAD, ids=[words[:30] for *_, words in BAD])
def test_wrong_arguments_are_refused(changed: dict, error: type[Exception], words: str) -> None:
    arguments = {"model": network(), "validation": (X, Y), "test": (X + 1, Y), **FEW} | changed
    with pytest.raises(error, match=words):
        calibrate(arguments.pop("model"), **arguments)


def test_a_model_without_dropout_is_refused() -> None:
    x, y = labels()
    with pytest.raises(ValueError, match="sample"):
        calibrate(nn.Linear(4, 3), validation=(x[:20], y[:20]), test=(x[20:], y[20:]), **FEW)
