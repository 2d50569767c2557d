"""Learned noise: penalties equal their divergences, unread penalties are counted, and noisy weights are pruned."""

import copy
import math
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_rate, assert_variance
from scipy import integrate, stats
from torch import Tensor, nn
from torch.distributions import LogNormal, kl_divergence
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.learned import sparse_variational_dropout as sparse
from thinnet.methods.learned import variational_dropout as variational
from thinnet.methods.learned.concrete_dropout import ConcreteDropout, concrete_dropout
from thinnet.methods.learned.information_dropout import InformationDropout, information_dropout, log_normal
from thinnet.methods.learned.penalty import Penalised, forgotten, penalty
from thinnet.methods.learned.sparse_variational_dropout import SparseVariationalDropout
from thinnet.methods.learned.variational_dropout import VariationalDropout, variational_dropout
from thinnet.methods.learned.variational_weight_dropout import VariationalWeightDropout
from thinnet.schedules import Constant


def every() -> list[nn.Module]:
    """One site of each kind, from 6 features to 6."""
    return [
        ConcreteDropout(nn.Linear(6, 6)),
        VariationalDropout(6),
        VariationalWeightDropout(nn.Linear(6, 6)),
        SparseVariationalDropout(nn.Linear(6, 6)),
        InformationDropout(nn.Linear(6, 6)),
    ]


KINDS = [type(site).__name__ for site in every()]


def site_of(kind: str) -> Penalised:
    return next(site for site in every() if type(site).__name__ == kind)  # type: ignore[return-value]


def negative_entropy(p: float) -> float:
    return p * math.log(p) + (1 - p) * math.log(1 - p)


def divergence(log_alpha: float) -> float:
    """KL(N(1, alpha) || log-uniform) up to a constant, by quadrature: E log|eps| - log(alpha) / 2."""
    sigma = math.exp(log_alpha / 2)
    around = [point for point in (-1 / sigma,) if abs(point) < 12]
    spread, _ = integrate.quad(lambda z: stats.norm.pdf(z) * math.log(abs(1 + sigma * z)), -12, 12, points=around, limit=500)
    return spread - log_alpha / 2


# The penalty of a model


def test_the_penalty_is_the_sum_over_the_sites_and_falls_with_the_samples() -> None:
    model = nn.Sequential(*every())
    model(torch.randn(8, 6))
    whole = penalty(model, samples=50)
    torch.testing.assert_close(whole, sum(site.penalty(50) for site in model), rtol=1e-6, atol=0)
    torch.testing.assert_close(penalty(model, samples=500), whole / 10)
    whole.backward()
    for site in model:
        assert all(bool(weight.grad.isfinite().all()) for weight in site.parameters() if weight.grad is not None)
        assert any(bool((weight.grad != 0).any()) for weight in site.parameters() if weight.grad is not None)


def test_a_module_that_is_used_twice_counts_once() -> None:
    site = ConcreteDropout(nn.Linear(6, 6))
    torch.testing.assert_close(penalty(nn.Sequential(site, nn.ReLU(), site), samples=9), penalty(site, samples=9))


@pytest.mark.parametrize("tau", [0.5, 4.0])
def test_with_a_precision_it_equals_the_formula_of_concrete_dropout(tau: float) -> None:
    site, n, length = ConcreteDropout(nn.Linear(6, 3), p=0.3, length=0.2), 40, 0.2
    weight, entropy = length**2 / (tau * n), 2 / (tau * n)  # l^2 / (tau N) and 2 / (tau N)
    expected = weight * float(site.weight.square().sum()) / 0.7 + entropy * 6 * negative_entropy(0.3)
    assert penalty(site, samples=n, precision=tau).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("samples", [0, -3, True, 2.0, None, float("nan")])
def test_the_number_of_samples_is_checked(samples: object) -> None:
    with pytest.raises(ValueError, match=r"^penalty: samples must be an integer of at least 1; got"):
        penalty(site_of("ConcreteDropout"), samples=samples)  # type: ignore[arg-type]


@pytest.mark.parametrize("precision", [0.0, -1.0, math.inf, math.nan])
def test_the_precision_is_checked(precision: float) -> None:
    with pytest.raises(ValueError, match=r"^penalty: precision must be a number above 0; got"):
        penalty(site_of("ConcreteDropout"), samples=3, precision=precision)


def test_a_model_without_learned_noise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^penalty: model must have a site with a penalty; Sequential has none\."):
        penalty(nn.Sequential(thinnet.nn.Dropout(0.5)), samples=3)


def test_user_classes_can_have_a_penalty() -> None:
    class Mine(Penalised):
        def __init__(self) -> None:
            super().__init__(None)

        def drop(self, x: Tensor) -> Tensor:
            rng = self.key(x)
            return x if rng is None else x * rng.uniform(x.shape)

        def penalty(self, samples: int) -> Tensor:
            return torch.tensor(3.0) / samples

    site = Mine()
    site(torch.ones(2, 4))
    assert forgotten(site) == {"": 1}
    assert penalty(nn.Sequential(site), samples=6) == 0.5
    assert not forgotten(site)


@pytest.mark.parametrize("kind", KINDS)
def test_a_learned_rate_cannot_be_set_or_scheduled(kind: str) -> None:
    site = site_of(kind)
    assert site.p is None
    with pytest.raises(ValueError, match=f"^{kind}: p must be left to the optimiser, as it is learned; got 0.3"):
        site.p = 0.3
    with pytest.raises(ValueError, match="no one rate to schedule"):
        thinnet.DropoutRNG(0, schedules={"0": Constant(0.1)}).bind(nn.Sequential(site))


# Who forgets it


@pytest.mark.parametrize("kind", KINDS)
def test_passes_for_training_are_counted_until_the_penalty_is_read(kind: str) -> None:
    model, x = nn.Sequential(site_of(kind)), torch.randn(4, 6)
    model.eval()(x)
    with torch.no_grad():
        model.train()(x)
    assert not forgotten(model)
    model(x), model(x)
    assert forgotten(model) == {"0": 2}
    penalty(model, samples=5)
    assert not forgotten(model)


@pytest.mark.parametrize("kind", KINDS)
def test_recomputed_passes_do_not_count(kind: str) -> None:
    site, x = site_of(kind), torch.randn(4, 6, requires_grad=True)
    y = checkpoint(site, x, use_reentrant=False)
    loss = y.square().sum() + penalty(site, samples=5)
    plain = copy.deepcopy(site)
    loss.backward()
    assert site.forgotten == 0
    assert all(weight.grad is not None for weight in site.parameters() if weight.requires_grad)
    assert plain.forgotten == 0


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_code_counts_in_one_graph(kind: str) -> None:
    site = site_of(kind)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(site, backend=counter, fullgraph=True)
    for reads in (True, True, False, False, True):
        (compiled(torch.randn(4, 6)).sum() + (penalty(site, samples=5) if reads else 0)).backward()
        assert bool(site.forgotten) is not reads
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "InformationDropout"])
def test_compiled_checkpoints_are_one_graph(kind: str) -> None:
    site, x = site_of(kind), torch.randn(4, 6, requires_grad=True)
    compiled = torch.compile(lambda x: checkpoint(site, x, use_reentrant=False), backend="aot_eager", fullgraph=True)
    compiled(x).sum().backward()
    assert bool(x.grad.isfinite().all()) and site.forgotten == 0  # not counted there


# Concrete dropout


def test_low_temperature_equals_dropout() -> None:
    x = torch.ones(40_000, 8)
    for p in (0.1, 0.6):
        y = concrete_dropout(x, p, temperature=1e-4, training=True)
        decided = (y < 1e-3) | ((y - 1 / (1 - p)).abs() < 1e-3)
        assert float(decided.double().mean()) > 0.998
        assert_rate(y < 0.5 / (1 - p), p)  # exact at every temperature: d exceeds 1/2 with probability p


@pytest.mark.parametrize("p", [1e-4, 0.1, 0.5, 0.9, 0.999])
def test_the_gradient_of_the_rate_is_finite_and_not_zero(p: float) -> None:
    site = ConcreteDropout(nn.Linear(64, 4), p=p)
    site(torch.randn(256, 64)).square().sum().backward()
    assert bool(site.logit.grad.isfinite()) and float(site.logit.grad) != 0


@pytest.mark.parametrize(
    "site",
    [
        ConcreteDropout(nn.Linear(5, 3), p=0.3),
        ConcreteDropout(nn.Conv2d(5, 3, 2), p=0.3),
        VariationalDropout(5, p=0.3),
        VariationalWeightDropout(nn.Linear(5, 3), p=0.3, per="unit"),
        VariationalWeightDropout(nn.Conv1d(5, 3, 2), p=0.3, per="weight"),
        SparseVariationalDropout(nn.Linear(5, 3), log_sigma2=-2.0),
        InformationDropout(nn.Linear(5, 5), prior="log-normal"),
    ],
    ids=lambda site: f"{type(site).__name__}-{type(getattr(site, 'layer', None)).__name__}",
)
def test_gradients_of_output_and_penalty_equal_finite_differences(site: Penalised) -> None:
    site = copy.deepcopy(site).double()
    thinnet.DropoutRNG(3).bind(site).at(0)
    sizes = (4, 4)[: getattr(site, "weight", torch.ones(1)).ndim - 2] if hasattr(site, "layer") else ()
    x = torch.rand(3, 5, *sizes, dtype=torch.float64) + 0.1
    names, values = zip(*site.named_parameters(), strict=True)

    def run(*values: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.func.functional_call(site, dict(zip(names, values, strict=True)), (x,), tie_weights=False)
        with torch.nn.utils.stateless._reparametrize_module(site, dict(zip(names, values, strict=True))):
            return y, site.penalty(7)

    torch.autograd.gradcheck(run, values)


def test_a_channel_shares_its_noise_with_and_without_a_batch() -> None:
    class Seen(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return x

    site = ConcreteDropout(Seen(6, 2, 3), p=0.5)
    for x in (torch.ones(5, 6, 4, 4), torch.ones(6, 4, 4)):
        y = site(x).flatten(-2)
        assert bool((y == y[..., :1]).all()) and len(y[..., 0].unique()) == y[..., 0].numel()


def test_the_penalty_of_concrete_dropout_moves_the_rate_to_a_half_and_weights_to_zero() -> None:
    for p, sign in ((0.2, -1), (0.8, 1)):
        site = ConcreteDropout(nn.Linear(50, 2), p=p)
        penalty(site, samples=1).backward()
        assert math.copysign(1, float(site.logit.grad)) == sign
    site = ConcreteDropout(nn.Linear(50, 2), p=0.5, length=2.0)
    penalty(site, samples=1).backward()
    assert float(site.logit.grad) > 0  # 1 / (1 - p) of the weights
    torch.testing.assert_close(site.weight.grad, 4 * site.weight.detach() / 0.5)


def test_the_penalty_is_computed_in_float32_for_half_precision() -> None:
    for dtype in (torch.bfloat16, torch.float16):
        site = ConcreteDropout(nn.Linear(512, 512), p=0.2).to(dtype)
        assert penalty(site, samples=10).dtype == torch.float32
        torch.testing.assert_close(penalty(site, samples=10), penalty(site.float(), samples=10))


@pytest.mark.parametrize("p", [0, 1.0, -0.1, 1.5, math.nan, True, "0.5"])
def test_bad_initial_rates_are_refused(p: object) -> None:
    with pytest.raises(ValueError, match=r"^ConcreteDropout: p must be a number in"):
        ConcreteDropout(nn.Linear(2, 2), p=p)  # type: ignore[arg-type]
    if p != 1.0 or p is True:
        with pytest.raises(ValueError, match=r"^VariationalDropout: p must be a number in \(0, 0.5\]"):
            VariationalDropout(2, p=p)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: ConcreteDropout(nn.Linear(2, 2), length=0.0), "length must be a number in"),
        (lambda: ConcreteDropout(nn.Linear(2, 2), temperature=math.nan), "temperature must be a number in"),
        (lambda: VariationalDropout(0), "features must be an integer of at least 1; got 0"),
        (lambda: VariationalDropout(3, per="weight"), "per must be 'unit' or 'layer'; got 'weight'"),
        (lambda: VariationalDropout(3, p=0.6), r"p must be a number in \(0, 0.5\]; got 0.6"),
        (lambda: VariationalDropout(3)(torch.ones(2, 4)), r"the last axis of x must have 3 units; got shape \(2, 4\)"),
        (lambda: VariationalWeightDropout(nn.Linear(2, 2), per="head"), "per must be 'layer', 'unit' or 'weight'; got 'head'"),
        (lambda: SparseVariationalDropout(nn.Linear(2, 2), log_sigma2=math.nan), "log_sigma2 must be a finite number"),
        (lambda: SparseVariationalDropout(nn.Linear(2, 2), threshold=9), r"threshold must be in \(-8, 8\); got 9"),
        (lambda: InformationDropout(nn.Identity(), prior="normal"), "prior must be 'log-uniform' or 'log-normal'"),
        (lambda: InformationDropout(nn.Identity(), beta=-1), "beta must be a number of at least 0; got -1"),
        (lambda: InformationDropout(nn.Identity(), limit=math.nan), "limit must be a number above 0.001"),
    ],
)
def test_bad_arguments_are_refused(make, rule: str) -> None:
    with pytest.raises(ValueError, match=rf"^\w+: {rule}"):
        make()


@pytest.mark.parametrize("function", [concrete_dropout, variational_dropout, information_dropout])
def test_the_functional_forms_refuse_bad_numbers(function) -> None:
    x = torch.ones(2, 3)
    bad = [-0.1, math.nan, math.inf, True, "0.5", torch.tensor([0.1, -0.1, 0.2])]
    for number in bad + [1.0] * (function is not information_dropout):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: the numbers? after x must be in \[0, "):
            function(x, number, training=True)
    with pytest.raises(TypeError, match="training"):
        function(x, 0.5)


@pytest.mark.parametrize("kind", [ConcreteDropout, VariationalWeightDropout, SparseVariationalDropout])
def test_other_layers_are_refused(kind: type[nn.Module]) -> None:
    with pytest.raises(TypeError, match=f"^{kind.__name__}: layer must be one of Linear, Conv1d, .*; got Embedding"):
        kind(nn.Embedding(3, 3))


# Variational dropout


def test_the_cubic_approximates_the_divergence_up_to_one() -> None:
    for log_alpha in torch.linspace(-8, 0, 17).tolist():
        assert abs(float(variational.divergence(torch.tensor(log_alpha))) - divergence(log_alpha)) < 0.05
    log_alpha = torch.linspace(-8, 0, 200, requires_grad=True)
    variational.divergence(log_alpha).sum().backward()
    assert bool((log_alpha.grad < 0).all())  # more noise is closer to the prior


def test_the_penalty_counts_units_that_share_a_rate() -> None:
    one = divergence(math.log(0.25))
    for site, count in (
        (VariationalDropout(6, p=0.2), 6),
        (VariationalDropout(6, p=0.2, per="layer"), 6),
        *((VariationalWeightDropout(nn.Conv1d(4, 6, 3), p=0.2, per=per), 72) for per in ("layer", "unit", "weight")),
    ):
        assert penalty(site, samples=2).item() == pytest.approx(count * one / 2, abs=0.02 * count)


def test_a_rate_stops_at_a_half_and_can_decrease_again() -> None:
    site = VariationalDropout(3, p=0.5)
    with torch.no_grad():
        site.log_alpha.copy_(torch.tensor([-1.0, 0.0, 2.0]))
    assert site.learned_p.tolist() == pytest.approx([1 / (1 + math.e), 0.5, 0.5])
    penalty(site, samples=1).backward()
    assert (site.log_alpha.grad < 0).tolist() == [True, True, False]
    site.log_alpha.grad = None
    (-penalty(site, samples=1)).backward()
    assert (site.log_alpha.grad > 0).tolist() == [True, True, True]


CONVOLUTIONS = [
    nn.Linear(6, 4),
    nn.Conv1d(6, 4, 3, stride=2, padding=1, groups=2),
    nn.Conv2d(6, 4, 3, dilation=2, padding=2, padding_mode="reflect"),
    nn.Conv3d(6, 4, (1, 2, 2), bias=False),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("kind", [VariationalWeightDropout, SparseVariationalDropout])
def test_outputs_have_the_variance_of_the_noisy_weights(layer: nn.Module, kind: type[nn.Module]) -> None:
    layer = copy.deepcopy(layer).double()
    x = torch.randn(1, 6, *(4, 4, 4)[: layer.weight.ndim - 2], dtype=torch.float64)
    site = kind(layer) if kind is VariationalWeightDropout else kind(layer, log_sigma2=-1.0)
    each = 0.25 * layer.weight.square() if kind is VariationalWeightDropout else torch.full_like(layer.weight, math.exp(-1))
    basis = torch.eye(layer.weight.numel(), dtype=torch.float64).reshape(-1, *layer.weight.shape)
    outputs = [torch.func.functional_call(layer, {"weight": b}, (x,)) for b in basis]
    nothing = torch.func.functional_call(layer, {"weight": 0 * basis[0]}, (x,))
    with torch.no_grad():
        variance = sum(
            v * (y - nothing).square() for v, y in zip(each.flatten(), outputs, strict=True)
        )  # each weight separately
        draws = torch.cat([site(x.expand(2000, *x.shape[1:])) for _ in range(10)])
        assert_variance(draws, layer(x)[0], variance[0])


def test_zero_inputs_have_no_noise_and_zero_gradient() -> None:
    for site in (VariationalWeightDropout(nn.Linear(6, 4)), SparseVariationalDropout(nn.Linear(6, 4))):
        x = torch.zeros(3, 6, requires_grad=True)
        y = site(x)
        assert torch.equal(y, site.bias.expand(3, 4))
        (y.sum() + penalty(site, samples=1)).backward()
        assert all(bool(t.grad.isfinite().all()) for t in (x, *site.parameters()))


# Sparse variational dropout


def test_the_approximation_equals_the_divergence_up_to_a_constant() -> None:
    at = torch.linspace(math.log(0.01), math.log(100), 25).tolist()
    apart = [float(sparse.divergence(torch.tensor(log_alpha))) - divergence(log_alpha) for log_alpha in at]
    assert max(apart) - min(apart) < 0.02
    assert sum(apart) / len(apart) == pytest.approx(sparse.K1, abs=0.01)


def test_weights_of_exactly_zero_have_a_finite_gradient() -> None:
    layer = nn.Linear(4, 3)
    nn.init.zeros_(layer.weight)
    for dtype in (torch.float32, torch.float16):
        site = SparseVariationalDropout(copy.deepcopy(layer)).to(dtype)
        (penalty(site, samples=1) + site(torch.ones(2, 4, dtype=dtype)).float().sum()).backward()
        assert all(bool(weight.grad.isfinite().all()) for weight in site.parameters())
        assert site.sparsity() == 1


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=lambda layer: type(layer).__name__)
def test_the_pruned_layer_equals_eval(layer: nn.Module) -> None:
    site = SparseVariationalDropout(copy.deepcopy(layer), log_sigma2=-1.5)
    pruned = site.prune()
    assert type(pruned) is type(layer) and 0 < site.sparsity() < 1
    assert float((pruned.weight == 0).double().mean()) == pytest.approx(site.sparsity())
    x = torch.randn(2, 6, *(4, 4, 4)[: layer.weight.ndim - 2])
    assert torch.equal(pruned(x), site.eval()(x))
    assert torch.equal(site.weight, layer.weight)  # a copy was pruned


def test_weights_that_the_data_do_not_need_are_pruned() -> None:
    """5 of 50 inputs matter. Weights that a z-test separates from 0 stay, weights near 0 are pruned."""
    x, noise = torch.randn(300, 50), 0.5
    truth = torch.zeros(50).index_copy_(0, torch.arange(5), torch.tensor([2.0, -1.5, 1.0, -2.5, 1.2]))
    y = x @ truth + noise * torch.randn(300)
    ratio = torch.linalg.lstsq(x, y[:, None]).solution[:, 0].abs() / (noise * torch.linalg.inv(x.T @ x).diagonal().sqrt())
    site = SparseVariationalDropout(nn.Linear(50, 1))
    optimizer = torch.optim.Adam(site.parameters(), lr=0.03)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 600)
    for step in range(600):
        likelihood = (site(x)[:, 0] - y).square().mean() / (2 * noise**2)
        optimizer.zero_grad()
        (likelihood + min(1, step / 300) * penalty(site, samples=300)).backward()
        optimizer.step()
        schedule.step()
    pruned = site.prune().weight[0] == 0
    assert not bool(pruned[:5].any()) and not bool(pruned[ratio > 2].any())
    assert bool(pruned[ratio < 0.4].all()) and int(pruned.sum()) >= 15
    assert float((site.eval()(x)[:, 0] - y).square().mean()) < 0.35


# Information dropout


def test_the_divergence_of_information_dropout_equals_the_closed_form() -> None:
    x, alpha = torch.rand(4, 3) + 0.1, torch.rand(4, 3) * 0.6 + 0.05
    mean, sigma = torch.tensor(0.3), torch.tensor(1.4)
    theirs = kl_divergence(LogNormal(x.log(), alpha), LogNormal(mean, sigma))
    torch.testing.assert_close(log_normal(x, alpha, mean, sigma), theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(information_dropout(x.expand(9, 4, 3), 0.0, training=True), x.expand(9, 4, 3), rtol=0, atol=0)


@pytest.mark.parametrize("prior", ["log-uniform", "log-normal"])
def test_the_penalty_is_that_of_the_last_training_pass(prior: str) -> None:
    site = InformationDropout(nn.Linear(6, 6), prior=prior, beta=2.0)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match=r"^InformationDropout: penalty must be read after .* Call model\(x\)"):
        penalty(site, samples=10)
    x, other = torch.rand(8, 6), torch.rand(4, 6)
    site(other), site(x)
    alpha = site.alpha(x)
    one = torch.ones(())
    each = (site.limit / alpha).log() if prior == "log-uniform" else log_normal(x, alpha, 0 * one, one)
    expected = 2.0 * each.sum(1).mean() / 10
    torch.testing.assert_close(penalty(site, samples=10), expected)
    with torch.no_grad():
        site(other)
    site.eval()(other)
    torch.testing.assert_close(penalty(site, samples=10), expected)


def test_the_source_sets_the_size_of_the_noise() -> None:
    site = InformationDropout(nn.Linear(3, 6))
    source = torch.randn(8, 3)
    thinnet.DropoutRNG(1).bind(site).at(0)
    x = torch.ones(8, 6)
    y = site(x, source)
    loud = y.log().abs() / site.alpha(source)
    assert y.shape == (8, 6) and bool((site.alpha(source) < 0.7).all() and (site.alpha(source) > 0.001).all())
    assert torch.equal(site(x, source), y) and not torch.equal(site(x, source + 1), y)
    assert 0.5 < float(loud.mean()) < 1.2  # E|z| = 0.8
    assert site.eval()(x, source) is x


def test_gradients_of_micro_batches_add_up() -> None:
    whole, parts = (InformationDropout(nn.Linear(6, 6)) for _ in range(2))
    parts.load_state_dict(whole.state_dict())
    x = torch.rand(8, 6)
    whole(x)
    penalty(whole, samples=10).backward()
    for part in x.chunk(2):
        parts(part)
        (penalty(parts, samples=10) / 2).backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_checkpointing_keeps_the_penalty_and_its_gradient() -> None:
    plain = InformationDropout(nn.Linear(6, 6))
    saving = copy.deepcopy(plain)
    x = torch.rand(8, 6)
    gradients = []
    for site, run in ((plain, plain), (saving, lambda x: checkpoint(saving, x, use_reentrant=False))):
        thinnet.DropoutRNG(1).bind(site).at(0)
        (run(x).square().sum() + penalty(site, samples=3)).backward()
        gradients.append([weight.grad for weight in site.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0])


def test_copies_and_pickles_drop_the_graph() -> None:
    site = InformationDropout(nn.Linear(6, 6))
    site(torch.rand(8, 6))
    for twin in (copy.deepcopy(site), pickle.loads(pickle.dumps(site))):
        with pytest.raises(RuntimeError, match="none was made"):
            penalty(twin, samples=3)
    assert float(penalty(site, samples=3).detach()) > 0


# Checkpoints


@pytest.mark.parametrize("kind", [ConcreteDropout, VariationalWeightDropout, SparseVariationalDropout])
def test_a_checkpoint_of_the_plain_layer_loads(kind: type[nn.Module]) -> None:
    bare, site = nn.Linear(4, 3), kind(nn.Linear(4, 3))
    missing = site.load_state_dict(bare.state_dict(), strict=False)
    assert len(missing.missing_keys) == 1 and not missing.unexpected_keys
    x = torch.randn(5, 4)
    assert torch.equal(site.eval()(x), bare(x))
