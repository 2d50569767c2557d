"""Each measure of a diagnosis has its known value in special cases, and a diagnosis leaves the model unchanged."""

import json
import math
import re

import pytest
import torch
import torch.nn.functional as F
from assertions import FALSE_ALARM
from networks import Counting
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.diagnosis.coadaptation import coadaptation, covariance, decov, participation_ratio
from thinnet.diagnosis.diagnose import MEASURES
from thinnet.diagnosis.gradients import directions
from thinnet.diagnosis.redundancy import ablation, area, synergy
from thinnet.diagnosis.result import Diagnosis
from thinnet.diagnosis.samples import draw
from thinnet.diagnosis.scores import default_loss, hits
from thinnet.diagnosis.sparsity import sparsity
from thinnet.diagnosis.tap import Place, meet_values, multiplied, one_per_sample
from thinnet.diagnosis.variance import Moments, variance_ratio

FAST = {"max_samples": 64, "orders": 2, "pairs": 4, "draws": 2, "minibatch": 8}


def found(model: nn.Module, data: object, *more: object, **options) -> Diagnosis:
    return thinnet.diagnose(model, data, *more, **{**FAST, **options})


def perceptron(p: float = 0.5) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), thinnet.nn.Dropout(p), nn.Linear(20, 3))


def classes(n: int = 64, features: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(n, features), torch.randint(3, (n,))


def test_independent_units_have_the_stated_energy() -> None:
    n, units = 200, 300
    measured = coadaptation(torch.randn(n, units))
    squares = 2 * (n - 2) / ((n - 1) ** 2 * (n + 1))  # the variance of the square of one correlation: Beta(1/2, (n - 2)/2)
    limit = stats.norm.isf(FALSE_ALARM / 2) * math.sqrt(squares / (units * (units - 1) / 2))
    assert measured.null == 1 / (n - 1)
    assert abs(measured.energy - measured.null) < limit


def test_copies_of_one_unit_are_fully_co_adapted() -> None:
    unit = torch.randn(50, 1)
    measured = coadaptation(torch.cat([unit * scale for scale in (1.0, -2.0, 5.0)] + [torch.full((50, 2), 7.0)], 1))
    assert (measured.energy, measured.mean_correlation, measured.participation) == pytest.approx((1, 1, 1))
    assert measured.constant == 2
    assert coadaptation(torch.cat((unit, torch.zeros(50, 3)), 1)) is None


@pytest.mark.parametrize("k", [1, 3, 8])
def test_the_participation_ratio_of_k_equal_directions_is_k(k: int) -> None:
    basis = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    assert float(participation_ratio(basis[:, :k] @ basis[:, :k].T)) == pytest.approx(k)


def test_participation_and_decov_equal_their_definitions() -> None:
    a = torch.randn(40, 5) @ torch.randn(5, 5)
    eigenvalues = torch.linalg.eigvalsh(covariance(a))
    assert coadaptation(a).participation == pytest.approx(float(eigenvalues.sum() ** 2 / eigenvalues.square().sum()))
    pairs = torch.cov(a.double().T, correction=0)
    off = sum(float(pairs[i, j]) ** 2 for i in range(5) for j in range(5) if i != j) / 2
    assert float(decov(a)) == pytest.approx(off) == coadaptation(a).decov


def test_identical_gradients_have_no_direction_variance_and_orthogonal_ones_one_half() -> None:
    one = torch.randn(30)
    same = directions([one, 2 * one, 0.1 * one], 3 * one)
    assert (same.variance, same.error) == pytest.approx((0, 0), abs=1e-12)
    orthogonal = directions(list(torch.eye(5)), torch.eye(5)[0])
    assert (orthogonal.variance, orthogonal.error) == pytest.approx((0.5, 0.4))
    assert directions([one, -one], one).variance == pytest.approx(1)


def test_the_direction_variance_is_the_mean_over_pairs() -> None:
    gradients = torch.randn(7, 20) + 0.5
    cosines = F.cosine_similarity(gradients[:, None].double(), gradients[None].double(), dim=-1)
    pairs = [float(1 - cosines[i, j]) / 2 for i in range(7) for j in range(i)]
    assert directions(iter(gradients), gradients[0]).variance == pytest.approx(sum(pairs) / len(pairs))
    with pytest.raises(ValueError, match="there must be two gradients or more; got 1"):
        directions([gradients[0]], gradients[0])
    with pytest.raises(ValueError, match=r"a gradient must be finite and not 0; got one of length 0"):
        directions([gradients[0]], torch.zeros(20))


def test_a_full_batch_without_dropout_has_the_direction_of_all_data() -> None:
    x, y = classes(40)
    measured = found(perceptron(0.0), (x.repeat(2, 1), y.repeat(2)), measures="gradients", max_samples=80, minibatch=40)
    assert measured.gradients.on == measured.gradients.off
    twins = found(perceptron(0.5), (x[:1].repeat(80, 1), y[:1].repeat(80)), measures="gradients").gradients
    assert (twins.off.variance, twins.off.error) == pytest.approx((0, 0), abs=1e-6)
    assert twins.on.variance > 1e-3 and twins.on.error > 1e-3


def test_the_gradient_of_all_data_is_the_gradient_of_the_mean_loss() -> None:
    model, (x, y) = perceptron(0.5).eval(), classes(50)
    F.cross_entropy(model(x), y).backward()
    norm = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
    assert found(model, (x, y), measures="gradients", batch_size=16).gradients.full_norm == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("kind", ["zero mean", "relu"])
def test_the_variance_ratio_behind_dropout(p: float, kind: str) -> None:
    """METHODS 6.7: 1 / q, and (E[x²] / q - μ²) / Var of a rectified normal: 1.16, 1.63, 2.47."""
    x = torch.randn(100_000, 8)
    x = x if kind == "zero mean" else x.relu()
    square, mean = (1.0, 0.0) if kind == "zero mean" else (0.5, 1 / math.sqrt(2 * math.pi))
    declared = (square / (1 - p) - mean**2) / (square - mean**2)
    assert (
        round(declared, 2)
        == {"zero mean": {0.1: 1.11, 0.3: 1.43, 0.5: 2.0}, "relu": {0.1: 1.16, 0.3: 1.63, 0.5: 2.47}}[kind][p]
    )
    train, evaluated = Moments(), Moments()
    for part in x.split(30_000):
        train.add(thinnet.nn.Dropout(p)(part))
        evaluated.add(part)
    ratio = variance_ratio(train.variance(), evaluated.variance())
    assert ratio.tolist() == pytest.approx([declared] * 8, rel=0.07)  # a kurtosis of at most 11: 7 standard errors


def test_moments_of_parts_equal_those_of_the_whole() -> None:
    x, moments = torch.randn(50, 3) * 2 + 1000, Moments()
    for part in x.split(7):
        moments.add(part)
    assert torch.allclose(moments.variance(), x.double().var(0, correction=0))


def test_the_shift_of_a_model_comes_from_its_sites() -> None:
    model = nn.Sequential(nn.Linear(6, 50), nn.Dropout(0.5), nn.Linear(50, 3))
    nn.init.zeros_(model[0].bias)
    shifts = {shift.name: shift for shift in found(model, classes(400), measures="variance", max_samples=400, draws=16).shifts}
    assert (shifts["0"].ratio, shifts["0"].low) == pytest.approx((1, 1))
    assert shifts["2"].ratio == pytest.approx(2, rel=0.1)


def test_a_norm_alone_causes_no_shift_as_it_keeps_its_statistics() -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.0), nn.Linear(9, 3))
    shifts = found(model, classes(), measures="variance").shifts
    assert [shift.name for shift in shifts] == ["0", "1", "4"] and [shift.normalises for shift in shifts] == [
        False,
        True,
        False,
    ]
    assert all(shift.low == pytest.approx(1) == shift.high for shift in shifts)


def test_one_uniform_position_of_each_sample_is_read() -> None:
    count, positions = 5000, 6
    x = torch.stack(torch.meshgrid(torch.arange(count), torch.arange(positions), indexing="ij"), 1).reshape(count, 2, 2, 3)
    read = one_per_sample(x, 1, count, torch.Generator().manual_seed(int(torch.randint(1 << 30, ()))))
    assert torch.equal(read[:, 0], torch.arange(count))
    assert stats.chisquare(read[:, 1].bincount(minlength=positions).numpy()).pvalue > FALSE_ALARM


def test_an_ablation_of_no_unit_and_of_all_units() -> None:
    model, (x, y) = perceptron().eval(), classes()
    curve = found(model, (x, y), measures="ablation").layers[0].ablation
    with torch.no_grad():
        scores = [model(x), model[3](torch.zeros(64, 20))]
    accuracy = [float((out.argmax(1) == y).float().mean()) for out in scores]
    losses = [float(F.cross_entropy(out, y)) for out in scores]
    for line in (*curve.accuracy, *curve.accuracy_rescaled):
        assert (line[0], line[-1]) == pytest.approx(accuracy)
    for line in (*curve.loss, *curve.loss_rescaled):
        assert (line[0], line[-1]) == pytest.approx(losses)


def test_an_ablation_zeroes_the_stated_fraction_and_rescales_the_others() -> None:
    seen: list[Tensor] = []

    def score(factors: Tensor) -> tuple[float, None]:
        seen.append(factors)
        return float(factors.sum()), None

    curves = ablation(score, width=20, orders=3)
    assert curves.of == "loss" and curves.accuracy == []
    assert all(line == [20 - 2 * k for k in range(11)] for line in curves.loss)
    assert all(line == pytest.approx([20.0] * 10 + [0.0], rel=1e-6) for line in curves.loss_rescaled)
    assert curves.area == pytest.approx(10) and area([0.0, 1.0], [[2.0, 0.0], [4.0, 2.0]]) == 2
    assert len({tuple(factors.tolist()) for factors in seen}) > 3 * 8


def test_units_are_multiplied_where_they_are_read_and_factor_0_removes_nan() -> None:
    model, (x, _) = perceptron(0.0).eval(), classes()
    model[0].weight.data[0] = torch.nan
    factors = torch.cat((torch.zeros(10), torch.full((10,), 2.0)))
    place = Place("2", "in", "", width=20)
    outs: list[Tensor] = []
    with torch.no_grad():
        meet_values(model, [place], multiplied({place: factors}), lambda: outs.append(model(x)))
    (out,) = outs
    hidden = torch.where(factors == 0, 0, 2 * model[1](model[0](x)))
    assert torch.allclose(out, model[3](hidden)) and not out.isnan().any()
    assert model(x).isnan().all()


def test_synergy_separates_redundant_cooperating_and_independent_pairs() -> None:
    alone = synergy(lambda kept: 3.0 - float(kept.sum()), width=8)
    assert (alone.mean, alone.relative, alone.negative, alone.pairs) == (0, 0, 0, 4)
    assert synergy(lambda kept: float(not kept.all()), width=8).relative == -0.5
    assert synergy(lambda kept: float((kept == 0).sum() > 1), width=8).mean == 1
    assert synergy(lambda kept: 0.0, width=3) is None


def test_sparsity_counts_zeros_and_dead_units() -> None:
    measured = sparsity(torch.tensor([[0.0, 0.0, 1.0], [0.0, 4.0, 1.0]]))
    assert (measured.zeros, measured.mean, measured.dead) == pytest.approx((0.5, 1, 1 / 3))
    assert measured.sparseness == pytest.approx((0.5 + 0) / 2)
    assert sum(measured.counts) == pytest.approx(1) and (measured.edges[0], measured.edges[-1]) == (0, 4)
    assert sparsity(torch.zeros(3, 2)).dead == 1


def test_the_gap_is_measured_in_eval_mode_and_the_price_with_dropout_on() -> None:
    model, (x, y), (u, v) = perceptron(0.5).eval(), classes(), classes()
    gap = found(model, (x, y), (u, v), measures="gap", draws=64).gap
    losses = [F.cross_entropy(model(a), b, reduction="none").detach().double() for a, b in ((x, y), (u, v))]
    assert (gap.train.loss, gap.held_out.loss) == pytest.approx([float(each.mean()) for each in losses])
    assert gap.gap == pytest.approx(gap.held_out.loss - gap.train.loss)
    assert gap.error == pytest.approx(math.sqrt(sum(float(each.var()) / 64 for each in losses)))
    assert gap.price == pytest.approx(gap.dropout_on.loss - gap.train.loss) and gap.price != 0
    assert gap.naive == pytest.approx(gap.gap - gap.price)
    assert found(perceptron(0.0), (x, y), measures="gap").gap.price == 0


def test_samples_are_drawn_uniformly_over_the_batches_as_pairs() -> None:
    batches = [(torch.arange(first, first + 10), torch.arange(first, first + 10) + 1000) for first in range(0, 50, 10)]
    counts = torch.zeros(50)
    for seed in range(2000):
        drawn = draw(batches, most=5, seed=seed)
        assert drawn.count == 5 and drawn.of == 50 and torch.equal(drawn.y, drawn.x + 1000)
        counts[drawn.x] += 1
    expected = torch.full((50,), 200.0)
    assert stats.chisquare(counts.numpy(), expected.numpy()).pvalue > FALSE_ALARM  # without replacement: even narrower
    assert sorted(draw(batches, most=99, seed=0).x.tolist()) == list(range(50))


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = nn.Linear(6, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.one(x).relu(), 0.5, self.training)
        return self.three(F.dropout(self.two(x).tanh(), 0.25, training=self.training))


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(ids)).mean(1))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(1, 5, 3), nn.BatchNorm2d(5), nn.ReLU(inplace=True), thinnet.nn.Dropout2d(0.3), nn.Conv2d(5, 7, 3)),
        *(nn.ReLU(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(28, 3)),
    )


PICTURES = (torch.randn(40, 1, 6, 6), torch.randint(3, (40,)))
ROWS = {
    "perceptron": (perceptron, classes, {"2": 20}),
    "functions": (Functional, classes, {"call 0": 12, "call 1": 8}),
    "convolutions": (convolutional, lambda: PICTURES, {"3": 5, "7": 28}),
    "one axis": (
        lambda: nn.Sequential(nn.Conv1d(2, 5, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(20, 3)),
        lambda: (torch.randn(40, 2, 6), torch.randint(3, (40,))),
        {"2": 5},
    ),
    "transformer": (
        Reader,
        lambda: (torch.randint(20, (40, 5)), torch.randint(3, (40,))),
        {"layer.dropout1": 16, "layer.dropout": 24, "layer.dropout2": 16},
    ),
    "no dropout": (lambda: nn.Sequential(nn.Linear(6, 9), nn.GELU(), nn.Linear(9, 3)), classes, {"1": 9}),
}


@pytest.mark.parametrize("name", ROWS)
def test_the_hidden_layers_of_a_network_and_their_units(name: str) -> None:
    make, data, widths = ROWS[name]
    measured = found(make(), data(), measures=["coadaptation", "ablation"], batch_size=16)
    assert {layer.name: layer.width for layer in measured.layers} == widths
    for layer in measured.layers:
        assert layer.coadaptation.null == 1 / (measured.samples - 1)
        assert layer.ablation.loss[0][-1] != layer.ablation.loss[0][0]


def assert_unchanged(model: nn.Module, work) -> None:
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    model.train()
    model[0].eval()
    hooks = [dict(held) for m in model.modules() for held in (m._forward_hooks, m._forward_pre_hooks)]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    grads = [p.grad for p in model.parameters()]
    state, fast = torch.get_rng_state(), True
    torch.backends.mha.set_fastpath_enabled(fast)
    work()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert all(p.grad is grad and bool((grad == 1).all()) for p, grad in zip(model.parameters(), grads, strict=True))
    assert hooks == [dict(held) for m in model.modules() for held in (m._forward_hooks, m._forward_pre_hooks)]
    assert torch.equal(torch.get_rng_state(), state) and torch.backends.mha.get_fastpath_enabled() == fast


def test_a_model_is_unchanged() -> None:
    model = convolutional()
    assert_unchanged(model, lambda: found(model, PICTURES, PICTURES))
    counting = nn.Sequential(nn.Linear(6, 8), Counting(), nn.Linear(8, 3))
    loader = DataLoader(TensorDataset(*classes()), batch_size=8, shuffle=True)
    assert_unchanged(counting, lambda: found(counting, loader))
    assert counting[1].steps == 0 and counting[1].log == []


@pytest.mark.parametrize("fails_at", [1, 3, 30, 60])
def test_a_model_is_unchanged_after_a_failure(fails_at: int) -> None:
    model, calls = convolutional(), []

    def loss(out: Tensor, y: Tensor) -> Tensor:
        calls.append(0)
        if len(calls) == fails_at:
            raise ArithmeticError("broken")
        return F.cross_entropy(out, y)

    def work() -> None:
        with pytest.raises(ArithmeticError, match="broken"):
            found(model, PICTURES, loss=loss)

    assert_unchanged(model, work)


def test_a_bound_rng_is_unchanged() -> None:
    model = perceptron()
    rng = thinnet.DropoutRNG(3).bind(model).at(5, samples=[7, 8])
    x = torch.randn(2, 6)
    before = model(x)
    found(model, classes(), measures=["gap", "variance", "coadaptation"])
    assert rng.step == 5 and torch.equal(model(x), before)


def test_a_seed_reproduces_a_diagnosis() -> None:
    model, data = perceptron(), classes(200)
    assert found(model, data, data).json() == found(model, data, data).json() != found(model, data, data, seed=1).json()


def test_limits_on_units_and_samples_are_noted() -> None:
    measured = found(perceptron(), classes(200), max_units=5, measures="coadaptation")
    assert measured.samples == 64 and measured.layers[0].read == 5
    assert measured.notes == ("64 of 200 samples were drawn", "2: 5 of 20 units were read")


def test_an_encoder_with_padding_takes_no_fused_path() -> None:
    """In eval and without gradients the encoder would hand packed rows of other lengths from layer to layer."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.2, batch_first=True)
            self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 3)

        def forward(self, x: Tensor, padding: Tensor) -> Tensor:
            return self.head(self.encoder(x, src_key_padding_mask=padding)[:, 0])

    padding = torch.arange(5) >= torch.randint(1, 5, (40, 1))
    data = [((torch.randn(40, 5, 16), padding), torch.randint(3, (40,)))]
    torch.backends.mha.set_fastpath_enabled(True)
    measured = found(Padded(), data, measures=["coadaptation", "variance"])
    assert [layer.width for layer in measured.layers] == [16, 24, 16] * 2
    assert {shift.name for shift in measured.shifts} >= {"encoder.layers.1.norm2", "encoder.layers.0.linear2"}


def test_the_default_loss_takes_classes_on_either_axis_and_values() -> None:
    y = torch.randint(4, (2, 5))
    logits = torch.randn(2, 5, 4)
    rows = F.cross_entropy(logits.movedim(-1, 1), y, reduction="none").mean(1)
    assert torch.allclose(default_loss(logits, y), rows) and torch.allclose(default_loss(logits.movedim(-1, 1), y), rows)
    assert torch.allclose(hits(logits, y), (logits.argmax(-1) == y).float().mean(1))
    assert torch.allclose(default_loss(torch.ones(3, 1), torch.zeros(3)), torch.ones(3))
    assert hits(torch.ones(3, 1), torch.zeros(3)) is None


def test_loaders_with_several_arguments_and_with_names() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = perceptron()

        def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, str]:
            return self.layers(a + b), "text"

    x, y = classes()
    model = Two()
    plain = found(model, [((x, x), y)], measures="gap").gap
    assert plain == found(model, [{"a": x, "b": x, "labels": y}], measures="gap").gap
    assert plain.train.accuracy == float((model.eval()(x, x)[0].argmax(1) == y).double().mean())


def test_tables_figure_and_a_self_contained_page(tmp_path) -> None:
    pytest.importorskip("plotly")
    measured = found(perceptron(), classes(), classes())
    for title in ("co-adaptation", "redundancy", "sparsity", "gap", "gradients", "variance shift"):
        assert f"{title}: " in str(measured)
    document = json.loads(measured.json())
    assert document["layers"][0]["width"] == 20 and document["gap"]["gap"] == measured.gap.gap
    assert len(measured.picture().layout.annotations) == 8
    text = measured.html(tmp_path / "page.html").read_text()
    assert text.count('class="plot"') == 8 and "<h2>Variance shift</h2>" in text and "<b>Variance shift</b>" in text
    assert not re.search(r"<(script|link)[^>]*(src|href)=[^>]?(?!data:)[a-z]", text)
    assert found(perceptron(), classes(), measures="gap").picture().data


WRONG = [
    ({"measures": ["sparcity"]}, ValueError, "measures must be among coadaptation, .*; got 'sparcity'"),
    ({"measures": []}, ValueError, "measures must hold one of"),
    ({"orders": 0}, ValueError, "orders must be a positive integer; got 0"),
    ({"max_samples": 2}, ValueError, "max_samples must be an integer of at least 3; got 2"),
    ({"layers": "decoder.*"}, ValueError, r"layers must match names of modules; 'decoder.\*' matches none of 0, 1, 2, 3"),
    ({"loss": lambda out, y: out}, ValueError, r"loss must return one number, or one per sample; got \(8, 3\)"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_wrong_arguments_are_refused(options, kind, message) -> None:
    with pytest.raises(kind, match=message):
        found(perceptron(), classes(), **options)


LOADERS = [
    (5, TypeError, r"loader must be an iterable of \(x, y\) batches, or a pair of tensors; got int"),
    ([], ValueError, "loader must hold samples; got none"),
    ([torch.ones(3, 6)], TypeError, r"a batch of loader must be a pair \(x, y\), or a mapping with 'labels'; got Tensor"),
    ((torch.ones(3, 6), torch.ones(4)), ValueError, r"axis 0 of all tensors .* must count the samples; got sizes \[3, 4\]"),
    ([(torch.ones(3, n), torch.ones(3)) for n in (6, 7)], ValueError, "samples of loader must have one shape; .* Pad them"),
    ((torch.full((5, 6), torch.nan), torch.zeros(5).long()), ValueError, "activations must be finite; got NaN or inf at '2'"),
    ((torch.ones(5, 6), torch.ones(5)), ValueError, r"got \(5, 3\) and \(5,\) of torch.float32. Give loss="),
]


@pytest.mark.parametrize(("loader", "kind", "message"), LOADERS)
def test_wrong_loaders_are_refused(loader, kind, message) -> None:
    with pytest.raises(kind, match=message):
        found(perceptron(), loader)


def test_a_model_without_hidden_layers_and_a_non_model_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must have dropout or activation modules.* Name them: layers='0'"):
        found(nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), classes())
    with pytest.raises(TypeError, match=r"model must be a torch.nn.Module; got function. Call its factory first"):
        found(perceptron, classes())  # type: ignore[arg-type]
    frozen = perceptron().requires_grad_(False)
    assert found(frozen, classes(), measures="gradients").notes == ("no gradients: no parameter requires one",)
    assert set(MEASURES) == {"coadaptation", "synergy", "ablation", "sparsity", "gap", "gradients", "variance"}
