"""The estimators: what they promise beyond the checks of scikit-learn."""

import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sklearn")
from scipy import sparse
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris, make_regression
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import thinnet.nn
from thinnet.report import progress
from thinnet.rng import Site
from thinnet.schedules import Linear
from thinnet.sklearn import DropoutClassifier, DropoutRegressor
from thinnet.sklearn.rows import Rows

FAST: dict[str, Any] = {"hidden_layer_sizes": (32,), "max_epochs": 15, "learning_rate": 1e-2, "random_state": 3}
X, Y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)


def numbers(rows: int = 600, outputs: int = 1) -> tuple[np.ndarray, np.ndarray]:
    return make_regression(rows, 5, n_targets=outputs, noise=20.0, random_state=0)


def test_calibration_rows_decide_the_factor_of_the_intervals_and_nothing_else() -> None:
    x, y = numbers(400)
    model = DropoutRegressor(dropout=0.3, **FAST).fit(x, y)
    _, held = Rows(np.arange(400)[:, None], y).split(40, model.random_root_, stratify=False)
    y[held.x[:, 0]] += 1000.0
    other = DropoutRegressor(dropout=0.3, **FAST).fit(x, y)
    assert (model.predict(x) == other.predict(x)).all()
    widths = [np.diff(each.predict_interval(x, 0.9))[:, 0] for each in (model, other)]
    assert np.ptp(widths[0]) > 0
    assert np.allclose(widths[1] / widths[0], widths[1][0] / widths[0][0])
    assert widths[1][0] > 2 * widths[0][0]


def test_sets_do_not_use_the_temperature_which_the_calibration_rows_fitted() -> None:
    model = DropoutClassifier(calibration=0.2, **FAST).fit(X, Y)
    sets = model.predict_set(X, 0.9)
    model.temperature_ = 7.0
    assert (model.predict_set(X, 0.9) == sets).all()


def sites(model: Any) -> list[float]:
    return [site.p for site in model.to_torch().modules() if isinstance(site, Site)]


def test_a_seed_gives_the_same_model_and_leaves_the_generators_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, other = (DropoutClassifier(**FAST).fit(X, Y) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(one.predict_proba(X), other.predict_proba(X)) and one.loss_curve_ == other.loss_curve_
    assert not np.array_equal(DropoutClassifier(**FAST | {"random_state": 4}).fit(X, Y).predict_proba(X), one.predict_proba(X))


def test_the_module_gives_the_predictions() -> None:
    model = DropoutClassifier(**FAST, calibration=0.3).fit(X, Y)
    logits = model.to_torch()(torch.tensor(X).float())
    assert np.allclose(logits.softmax(1).detach().numpy(), model.predict_proba(X), atol=1e-5)
    x, y = numbers(outputs=2)
    for members in (1, 2):
        regressor = DropoutRegressor(**FAST, n_estimators=members).fit(x, y)
        values = regressor.to_torch()(torch.tensor(x).float()).detach().numpy()
        assert np.allclose(values, regressor.predict(x), atol=1e-3 * regressor.target_scale_.max())


@pytest.mark.parametrize(
    ("dropout", "rates", "used"),
    [
        (0.3, [0.3, 0.3], 0.3),
        ([0.5, 0.2], [0.5, 0.2], [0.5, 0.2]),
        (np.array([0.5, 0.2]), [0.5, 0.2], [0.5, 0.2]),
        (Linear(0.0, 0.4, steps=5), [0.4, 0.4], 0.4),
    ],
    ids=["a rate", "a list", "an array", "a schedule"],
)
def test_dropout_is_a_rate_a_list_or_a_schedule(dropout: Any, rates: list[float], used: Any) -> None:
    model = DropoutClassifier((16, 16), dropout=dropout, max_epochs=3, random_state=0).fit(X, Y)
    assert sites(model) == rates and model.dropout_ == used
    assert "dropout" in str(model.summary_())


def test_auto_takes_the_rate_with_the_lowest_mean_validation_loss() -> None:
    model = DropoutClassifier(**FAST | {"max_epochs": 3}, dropout="auto", validation_fraction=0.3).fit(X, Y)
    search = model.dropout_search_
    assert sorted(search) == [0.0, 0.1, 0.2, 0.3, 0.5, 0.7]
    assert model.dropout_ == min(search, key=lambda rate: search[rate]) and sites(model) == [model.dropout_]
    assert 0 < min(search.values()) and search[0.7] > search[0.0]  # three epochs on clean classes: more dropout learns less


@pytest.mark.parametrize("method", ["GaussianDropout", "Jumpout", "BatchwiseDropout"])
def test_a_method_is_that_of_nn(method: str) -> None:
    model = DropoutClassifier(**FAST, method=method, input_dropout=0.1).fit(X, Y)
    assert isinstance(model.to_torch().hidden1, getattr(thinnet.nn, method))
    assert sites(model) == [0.1, 0.2] and model.score(X, Y) > 0.8


def test_thinned_execution_leaves_a_plain_network() -> None:
    model = DropoutClassifier(**FAST, dropout=0.5, thin=2).fit(X, Y)
    assert type(model.to_torch().hidden1) is thinnet.nn.Dropout and model.score(X, Y) > 0.8


def test_a_draw_of_a_row_is_the_same_in_any_batch() -> None:
    x, y = numbers()
    model = DropoutRegressor(**FAST, n_estimators=2).fit(x, y)
    whole, part = model.sample(x, 6), model.sample(x[5:7], 6)
    assert whole.shape == (6, len(x)) and np.allclose(whole[:, 5:7], part, rtol=1e-4, atol=1e-3)
    assert whole.std(0).min() > 0
    mean, std = model.predict(x, return_std=True)
    assert np.array_equal(mean, model.predict(x)) and (std**2 >= model.noise_variance_ * model.target_scale_**2).all()


def test_probabilities_of_draws_sum_to_one() -> None:
    model = DropoutClassifier(**FAST).fit(X, Y)
    assert np.allclose(model.sample(X, 4).sum(-1), 1, atol=1e-5)
    labels, std = model.predict(X, return_std=True)
    p, spread = model.predict_proba(X, return_std=True)
    assert np.array_equal(labels, model.predict(X)) and np.array_equal(std, spread[np.arange(len(X)), p.argmax(1)])


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_cover_what_was_asked_for(dropout: float, coverage: float) -> None:
    x, y = numbers(4000, outputs=2)
    x, test, y, observed = train_test_split(x, y, random_state=0)
    model = DropoutRegressor(**FAST | {"max_epochs": 5}, dropout=dropout, calibration=0.3).fit(x, y)
    interval = model.predict_interval(test, coverage)
    covered = ((interval[..., 0] <= observed) & (observed <= interval[..., 1])).mean(0)
    assert interval.shape == (1000, 2, 2) and (np.abs(covered - coverage) < 0.06).all()  # four standard errors


def test_sets_of_classes_cover_what_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 4))
    y = np.array(["a", "b", "c"])[np.digitize(x[:, 0] + rng.normal(size=3000), [-0.5, 0.5])]
    model = DropoutClassifier(**FAST | {"max_epochs": 5}, calibration=0.3).fit(x[:2000], y[:2000])
    sets = model.predict_set(x[2000:], 0.9)
    covered = sets[np.arange(1000), np.searchsorted(model.classes_, y[2000:])].mean()
    assert abs(covered - 0.9) < 0.06 and sets.sum(1).mean() > 1


def test_too_few_rows_turn_calibration_off() -> None:
    model = DropoutRegressor(**FAST).fit(*numbers(100))
    with pytest.raises(ValueError, match=r"must be calibrated, on 20 rows or more; got 0 calibration rows\. Call fit"):
        model.predict_interval(numbers(3)[0])
    with pytest.raises(ValueError, match=r"coverage must be at most 0\.952 with 20 calibration rows; got 0\.99"):
        DropoutRegressor(**FAST).fit(*numbers(200)).predict_interval(numbers(3)[0], 0.99)


def test_early_stopping_keeps_the_weights_of_the_lowest_validation_loss() -> None:
    x, y = numbers(300)
    settings = FAST | {"early_stopping": True, "n_iter_no_change": 3, "calibration": 0.0}
    stopped = DropoutRegressor(**settings | {"max_epochs": 60}).fit(x, y)
    losses = stopped.validation_loss_curve_
    best = int(np.argmin(losses))
    assert len(losses) == len(stopped.validation_scores_) == stopped.n_iter_ and stopped.n_iter_ in (60, best + 4)
    again = DropoutRegressor(**settings | {"max_epochs": best + 1}).fit(x, y)
    assert np.array_equal(again.predict(x), stopped.predict(x))


def test_warm_start_and_partial_fit_go_on_where_training_stopped() -> None:
    settings = FAST | {"calibration": 0.0, "dropout": Linear(0.0, 0.5, steps=100)}
    whole = DropoutClassifier(**settings | {"max_epochs": 4}).fit(X, Y)
    warm = DropoutClassifier(**settings | {"max_epochs": 2}, warm_start=True).fit(X, Y).fit(X, Y)
    parts = pickle.loads(pickle.dumps(DropoutClassifier(**settings).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y)))
    for model in (warm, parts.partial_fit(X, Y).partial_fit(X, Y)):
        assert model.loss_curve_ == whole.loss_curve_ and np.array_equal(model.predict_proba(X), whole.predict_proba(X))


def test_warm_start_follows_what_can_change_and_refuses_another_form() -> None:
    first = DropoutClassifier(**FAST | {"max_epochs": 2, "calibration": 0.0}, dropout=0.2, warm_start=True).fit(X, Y)
    settings = {"dropout": 0.5, "learning_rate": 1e-3, "weight_decay": 0.1}
    changed = pickle.loads(pickle.dumps(first)).set_params(**settings).fit(X, Y)
    assert sites(changed) == [0.5] and changed.dropout_ == 0.5
    assert changed.members_[0].losses[:2] == first.loss_curve_
    for name, value in {"dropout": 0.2, "learning_rate": 1e-2, "weight_decay": 0.0}.items():
        other = pickle.loads(pickle.dumps(first)).set_params(**settings | {name: value}).fit(X, Y)
        assert not np.array_equal(other.predict_proba(X), changed.predict_proba(X))
    for settings in ({"hidden_layer_sizes": (8,)}, {"n_estimators": 2}, {"method": "Jumpout"}, {"input_dropout": 0.1}):
        with pytest.raises(ValueError, match="DropoutClassifier: a fitted network must keep its features, widths"):
            pickle.loads(pickle.dumps(first)).set_params(**settings).fit(X, Y)
    with pytest.raises(ValueError, match="got others, with 2 features"):
        pickle.loads(pickle.dumps(first)).fit(X[:, :2], Y)


def test_verbose_says_what_was_trained(capsys: pytest.CaptureFixture[str]) -> None:
    DropoutClassifier(**FAST).fit(X, Y)
    assert capsys.readouterr().err == ""
    DropoutClassifier(**FAST, verbose=True).fit(X, Y)
    end = r"DropoutClassifier: \d+ epochs, training loss \d+\.\d+, \d+\.\d s\n"
    assert re.fullmatch(end, capsys.readouterr().err)
    found = DropoutClassifier(**FAST | {"max_epochs": 2, "dropout": "auto"}, verbose=True).fit(X, Y)
    chosen = rf"DropoutClassifier: dropout={found.dropout_} has the lowest validation loss of 6 rates, \d\.\d+\n"
    assert re.fullmatch(chosen + end, capsys.readouterr().err)


@pytest.mark.parametrize("more", [{}, {"n_jobs": 2}, {"n_estimators": 3}], ids=["one", "processes", "ensemble"])
def test_progress_counts_every_fit(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, int, str]] = []

    class Watched(progress.Progress):
        def reach(self, done: float, news: str = "") -> None:
            super().reach(done, news)
            seen.append((done, self.total, news))

    monkeypatch.setattr(progress, "Progress", Watched)
    DropoutClassifier(**FAST | {"max_epochs": 2, "dropout": "auto"}, **more).fit(X, Y)
    dones, totals = [done for done, _, _ in seen], {total for _, total, _ in seen}
    assert totals == {2 * (18 + more.get("n_estimators", 1))} == {dones[-1]}
    assert dones == sorted(dones) and dones[:18] == [2 * number for number in range(1, 19)]
    assert re.fullmatch(r"p = 0, loss \d\.\d+", seen[0][2]) and seen[-1][2].startswith("loss ")


def test_rows_of_weight_zero_are_as_if_they_were_not_there() -> None:
    x, y = numbers(400)
    kept = np.arange(400) % 3 > 0
    wrong = np.where(kept, y, 1e6)  # in a batch, a split or a calibration these would show
    for early in (False, True):
        one = DropoutRegressor(**FAST, early_stopping=early).fit(x, wrong, sample_weight=2.0 * kept)
        other = DropoutRegressor(**FAST, early_stopping=early).fit(x[kept], y[kept])
        assert np.allclose(one.predict_interval(x), other.predict_interval(x), rtol=1e-3, atol=1e-3)
        assert len(one.conformal_.scores) == len(other.conformal_.scores)


@pytest.mark.parametrize("unit", [1e-200, 1e200, 1e-30])
def test_a_target_has_any_unit(unit: float) -> None:
    x, y = numbers(400)
    one, other = DropoutRegressor(**FAST).fit(x, y), DropoutRegressor(**FAST).fit(x, y * unit)
    assert np.allclose(other.predict(x) / unit, one.predict(x), rtol=1e-4, atol=1e-5)


def test_weights_and_coverages_that_are_none_are_refused() -> None:
    for weight in (np.ones(7), ["a"] * len(Y), -np.ones(len(Y)), np.zeros(len(Y))):
        for balance in (None, "balanced"):
            with pytest.raises(ValueError, match=r"(?i)weight|convert string to float"):
                DropoutClassifier(**FAST, class_weight=balance).fit(X, Y, sample_weight=weight)
    heavy = DropoutClassifier(**FAST).fit(X, Y, sample_weight=np.full(len(Y), 1e308))
    assert np.array_equal(
        heavy.predict_proba(X), DropoutClassifier(**FAST).fit(X, Y, sample_weight=np.ones(len(Y))).predict_proba(X)
    )
    for coverage in ("0.9", None, np.nan, 90):
        with pytest.raises(ValueError, match=r"predict_interval: coverage must be in \(0, 1\); got"):
            DropoutRegressor(**FAST).fit(*numbers(400)).predict_interval(numbers(3)[0], coverage)


@pytest.mark.parametrize("name", ["early_stopping", "warm_start"])
def test_a_switch_is_true_or_false(name: str) -> None:
    with pytest.raises(ValueError, match=f"DropoutClassifier: {name} must be True or False; got 'no'. Use True."):
        DropoutClassifier(**FAST | {name: "no"}).fit(X, Y)


def test_weights_of_rows_and_classes_are_those_of_the_loss() -> None:
    twice = np.where(Y == 1, 2.0, 1.0)
    weighted = DropoutClassifier(**FAST).fit(X, Y, sample_weight=twice)
    by_class = DropoutClassifier(**FAST, class_weight={0: 1.0, 1: 2.0, 2: 1.0}).fit(X, Y)
    balanced = DropoutClassifier(**FAST, class_weight="balanced").fit(X, Y)
    assert np.array_equal(weighted.predict_proba(X), by_class.predict_proba(X))
    assert np.array_equal(balanced.predict_proba(X), DropoutClassifier(**FAST).fit(X, Y).predict_proba(X))  # 50 of each
    both = DropoutClassifier(**FAST, class_weight={0: 1.0, 1: 2.0, 2: 1.0}).fit(X, Y, sample_weight=1 / twice)
    assert np.allclose(both.predict_proba(X), balanced.predict_proba(X), atol=1e-5)
    only = DropoutClassifier(**FAST).fit(X, Y, sample_weight=(Y != 2).astype(float))
    assert 2 not in only.predict(X)


def test_sparse_inputs_give_the_model_of_dense_ones() -> None:
    x = np.where(np.abs(X) > 0.7, X, 0.0).astype(np.float32)
    dense, other = (DropoutClassifier(**FAST, input_dropout=0.2).fit(form, Y) for form in (x, sparse.csr_matrix(x)))
    assert np.array_equal(dense.predict_proba(x), other.predict_proba(sparse.csr_array(x)))
    assert np.array_equal(dense.sample(x, 3), dense.sample(sparse.csc_matrix(x), 3))


def test_members_are_trained_in_processes_as_in_one() -> None:
    one, two = (DropoutClassifier(**FAST | {"max_epochs": 2}, n_estimators=2, n_jobs=jobs).fit(X, Y) for jobs in (1, 2))
    assert np.allclose(one.predict_proba(X), two.predict_proba(X), atol=1e-5)
    first, second = (member.network.output.weight for member in one.members_)
    assert not torch.equal(first, second)


def test_it_works_in_the_tools_of_scikit_learn() -> None:
    model = make_pipeline(StandardScaler(), DropoutClassifier(**FAST | {"max_epochs": 5}))
    assert cross_val_score(model, X, Y, cv=3).mean() > 0.7
    search = GridSearchCV(model, {"dropoutclassifier__dropout": [0.0, 0.2]}, cv=2, n_jobs=2).fit(X, Y)
    assert search.best_params_["dropoutclassifier__dropout"] in (0.0, 0.2)
    fitted = model.fit(X, Y)
    calibrated = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, Y)
    assert np.allclose(calibrated.predict_proba(X).sum(1), 1)
    copy = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    assert clone(fitted).get_params().keys() == fitted.get_params().keys()


def table(rows: int = 200) -> tuple[Any, np.ndarray]:
    """Numbers with missing values, and categories."""
    frames, rng = pytest.importorskip("pandas"), np.random.default_rng(0)
    size, kind = rng.normal(size=rows), rng.choice(["a", "b", "c"], rows)
    y = size + (kind == "a") + 0.1 * rng.normal(size=rows)
    return frames.DataFrame({"size": np.where(rng.random(rows) < 0.1, np.nan, size), "kind": kind}), y


def encoder(name: str) -> Any:
    if name == "TableVectorizer":
        return make_pipeline(pytest.importorskip("skrub").TableVectorizer(), SimpleImputer(), StandardScaler())
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer([("numbers", numbers, ["size"]), ("text", OneHotEncoder(), ["kind"])])


@pytest.mark.parametrize("name", ["ColumnTransformer", "TableVectorizer"])
def test_it_ends_a_pipeline_that_encodes_a_table(name: str) -> None:
    x, y = table()
    model = make_pipeline(encoder(name), DropoutRegressor(**FAST)).fit(x, y)
    mean, std = model.predict(x, return_std=True)
    assert model.score(x, y) > 0.6 and mean.shape == std.shape == (200,)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_names_and_frames_go_in_and_out(library: str) -> None:
    frames = pytest.importorskip(library)
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: X[:, k] for k, name in enumerate(names)})
    model = DropoutClassifier(**FAST | {"hidden_layer_sizes": (3,)}).set_output(transform=library).fit(frame, frames.Series(Y))
    out = model.transform(frame)
    assert list(model.feature_names_in_) == names and isinstance(out, frames.DataFrame)
    assert list(out.columns) == [f"dropoutclassifier{k}" for k in range(3)]
    hidden = model.to_torch()[:-1](torch.tensor(X).float()).detach().numpy()
    assert np.allclose(out.to_numpy(), hidden, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dropout": 1.0}, r"dropout must be a rate in \[0, 1\), a list of them, a schedule or 'auto'; got 1\.0"),
        ({"dropout": "much"}, "dropout must be a rate"),
        ({"dropout": [0.1, 0.2]}, "dropout must have one rate for each of the 1 hidden layers; got 2"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes must be an integer of at least 1; got 0"),
        ({"hidden_layer_sizes": "wide"}, "hidden_layer_sizes must be the widths of the layers; got 'wide'"),
        ({"thin": "yes"}, "thin must be True, False or a number of groups; got 'yes'"),
        ({"method": "DropPath"}, "method must be one of dropout, GaussianDropout"),
        ({"thin": True, "method": "Jumpout"}, "thin must go with method='dropout' at a constant rate"),
        ({"thin": True, "hidden_layer_sizes": (2,), "dropout": 0.1}, "thin must skip units of every hidden layer"),
        ({"learning_rate": 0.0}, r"learning_rate must be a number in \(0, inf\)"),
        ({"learning_rate": 1e30}, r"the training loss must stay finite; got nan in epoch \d+\. Scale the inputs"),
        ({"device": "moon"}, "device must exist here; got 'moon'"),
        ({"max_epochs": 0}, "max_epochs must be an integer of at least 1; got 0"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "two rows or more on either side; got 150 of 150 rows"),
    ],
)
def test_what_breaks_a_rule_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"DropoutClassifier: .*{message}"):
        DropoutClassifier(**FAST | settings).fit(X, Y)


def test_the_target_has_its_own_unit() -> None:
    x, y = load_diabetes(return_X_y=True)
    x = StandardScaler().fit_transform(x)
    one = DropoutRegressor(**FAST).fit(x, y)
    other = DropoutRegressor(**FAST).fit(x, 1e6 + 1e3 * y)
    assert one.score(x, y) > 0.4 and np.allclose(other.predict(x), 1e6 + 1e3 * one.predict(x), rtol=1e-4)
