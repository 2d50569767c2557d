"""Importance dropout, jumpout and standout: their rates, measurements and recomputation."""

import itertools
import math

import pytest
import torch
from assertions import assert_mean, assert_same_bits, assert_variance
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.elementwise import importance_dropout, jumpout, standout
from thinnet.methods.elementwise.importance_dropout import ImportanceDropout, unit_rates
from thinnet.methods.elementwise.jumpout import Jumpout
from thinnet.methods.elementwise.standout import Standout
from thinnet.ops import reference

IMPORTANCES = (
    torch.tensor([3.0]),
    torch.zeros(5),
    torch.tensor([0.0, 0.0, 1.0, 1e-6, 1e6]),
    torch.rand(1000) ** 8,
    torch.randn(30_000).exp(),
)


@pytest.mark.parametrize("importance", IMPORTANCES, ids=len)
def test_the_mean_of_the_rates_is_p(importance: Tensor) -> None:
    for p in (0.0, 1e-4, 0.1, 0.5, 0.9, 0.999, 1.0):
        drops = unit_rates(p, importance)
        assert abs(float(drops.double().mean()) - p) <= 1 / 65536
        assert bool((drops[importance.argsort()].diff() <= 0).all())
    assert bool((unit_rates(0.0, importance) == 0).all() and (unit_rates(1.0, importance) == 1).all())
    assert bool((unit_rates(0.5, importance) < 1).all())


def test_keep_probabilities_are_proportional_to_importance_up_to_one() -> None:
    importance = torch.tensor([0.5, 1.0, 2.0, 3.0, 40.0])
    kept = 1 - unit_rates(0.4, importance, floor=1e-9)
    torch.testing.assert_close(kept[:4] / importance[:4], torch.full((4,), 2 / 6.5), rtol=1e-3, atol=0)
    assert kept[4] == 1


def test_the_rates_add_the_least_variance_for_their_mean() -> None:
    importance = torch.rand(50).double() + 0.1
    best = 1 - unit_rates(0.5, importance, floor=1e-9).double()
    for _ in range(200):
        other = (best + 0.1 * torch.randn(50).double()).clamp(0.01, 1)
        other = other * (best.sum() / other.sum())
        if bool((other <= 1).all()):
            assert float((importance**2 / other).sum()) >= float((importance**2 / best).sum()) * (1 - 1e-4)


def test_importance_is_the_running_root_mean_square() -> None:
    site, squares = ImportanceDropout(4, 0.5, dim=1, momentum=0.25), torch.zeros(4)
    for _ in range(3):
        x = torch.randn(6, 4, 5) * torch.tensor([1.0, 2.0, 3.0, 0.0])[:, None]
        site(x)
        squares = 0.75 * squares + 0.25 * x.square().mean((0, 2))
        torch.testing.assert_close(site.importance, squares.sqrt())
    drops = site.unit_rates()
    assert drops[3] > drops[0] > drops[1] > drops[2]
    y = site(torch.ones(4000, 4, 5))
    torch.testing.assert_close((y == 0).float().mean((0, 2)), drops, atol=0.03, rtol=0)


def test_importance_is_measured_only_in_training() -> None:
    site = ImportanceDropout(3, 0.5)
    site(torch.randn(8, 3))
    before = site.importance.clone()
    site.eval()(torch.randn(8, 3))
    with torch.no_grad():
        site.train()(torch.randn(8, 3))
    site(torch.full((8, 3), torch.inf))
    site(torch.zeros(0, 3))
    assert_same_bits(site.importance, before)
    site(torch.tensor([1.0, torch.nan, 3.0]))
    assert (site.importance == before).tolist() == [False, True, False]


def test_all_passes_of_a_step_have_the_same_rates_and_measure_once() -> None:
    model = nn.Sequential(ImportanceDropout(3, 0.5))
    rng = thinnet.DropoutRNG(1).bind(model)
    x = torch.randn(5, 3) * torch.tensor([1.0, 5.0, 9.0])
    rng.at(0)
    first = model(x)
    measured = model[0].importance.clone()
    assert_same_bits(model(x), first)
    model(7 * x.flip(1))
    assert_same_bits(model[0].importance, measured)
    rng.at(1)
    model(x)
    assert not torch.equal(model[0].importance, measured)


def run(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    y = model(x)
    y.square().sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad


class Checkpointed(nn.Module):
    """Two sites in a checkpointed part."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.part = nn.Sequential(
            nn.Linear(6, 6), ImportanceDropout(6, 0.5, momentum=0.5), nn.Tanh(), ImportanceDropout(6, 0.3)
        )
        self.reentrant: bool | None = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) if self.reentrant is None else checkpoint(self.part, x, use_reentrant=self.reentrant)


@pytest.mark.parametrize("named", (False, True))
@pytest.mark.parametrize("reentrant", (False, True))
def test_recomputation_uses_the_rates_of_its_forward_pass_and_does_not_measure(reentrant: bool, named: bool) -> None:
    plain, recomputed = Checkpointed(reentrant), Checkpointed(reentrant)
    recomputed.load_state_dict(plain.state_dict())
    plain.reentrant = None
    outcomes = []
    for model in (plain, recomputed):
        torch.manual_seed(1)
        rng = thinnet.DropoutRNG(2).bind(model) if named else None
        for step in range(4):
            if rng is not None:
                rng.at(step)
            x = torch.randn(7, 6, generator=torch.Generator().manual_seed(step)) * torch.arange(1.0, 7.0)
            outcomes.append((*run(model, x), *(site.importance.clone() for site in (model.part[1], model.part[3]))))
    for ours, theirs in zip(outcomes[:4], outcomes[4:], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_recomputation_fails_if_its_rates_are_gone() -> None:
    model = Checkpointed(reentrant=False)
    y = model(torch.randn(7, 6))
    model(torch.randn(7, 6))
    with pytest.raises(RuntimeError, match=r"^ImportanceDropout: a recomputation needs .* Bind the model"):
        y.sum().backward()
    rng = thinnet.DropoutRNG(2).bind(model)
    rng.at(0)
    y = model(torch.randn(7, 6))
    model(torch.randn(7, 6))
    y.sum().backward()


def test_a_resumed_run_equals_an_uninterrupted_one() -> None:
    def train(model: nn.Module, steps: range) -> Tensor:
        rng = thinnet.DropoutRNG(3).bind(model)
        for step in steps:
            rng.at(step)
            y = model(torch.randn(5, 4, generator=torch.Generator().manual_seed(step)) * torch.arange(4.0))
        rng.unbind()
        return y

    whole, first, second, third = (nn.Sequential(ImportanceDropout(4, 0.5)) for _ in range(4))
    expected = train(whole, range(6))
    train(first, range(3))
    second.load_state_dict(first.state_dict())
    assert_same_bits(train(second, range(3, 6)), expected)
    train(first, range(3, 5))
    train(third, range(5, 6))
    third.load_state_dict(first.state_dict())  # loading forgets its step
    assert_same_bits(train(third, range(5, 6)), expected)


def test_compiled_and_eager_code_measure_the_same_importance() -> None:
    eager, compiled = ImportanceDropout(4, 0.5, momentum=0.5), ImportanceDropout(4, 0.5, momentum=0.5)
    fast = torch.compile(compiled, fullgraph=True, backend="aot_eager")
    rng = [thinnet.DropoutRNG(3).bind(nn.ModuleDict({"site": site})) for site in (eager, compiled)]
    for step in range(4):
        for one in rng:
            one.at(step)
        x = torch.randn(5, 4) * torch.arange(4.0)
        torch.testing.assert_close(run(fast, x), run(eager, x))
        torch.testing.assert_close(compiled.importance, eager.importance)


def test_importance_dropout_refuses_invalid_arguments() -> None:
    for options, match in (
        (dict(units=0), "units must be a positive integer; got 0"),
        (dict(units=True), "units must be"),
        (dict(units=3, momentum=float("nan")), "momentum must be"),
        (dict(units=3, floor=0.0), "floor must be a positive number; got 0.0"),
        (dict(units=3, floor=float("nan")), "floor must be"),
    ):
        with pytest.raises(ValueError, match=match):
            ImportanceDropout(**options)
    for x in (torch.randn(3, 4), torch.randn(())):
        with pytest.raises(ValueError, match="must count 3 units"):
            ImportanceDropout(3)(x)
    with pytest.raises(ValueError, match="must count 3 units"):
        importance_dropout.importance_dropout(torch.randn(3, 4), 0.5, importance=torch.ones(3), training=True)


@pytest.mark.parametrize("active", (0.25, 0.5, 1.0))
def test_jumpout_drops_the_same_share_of_active_units_in_every_layer(active: float) -> None:
    x = (torch.arange(1000) < 1000 * active).float().expand(3000, 1000)
    silenced = ((jumpout.jumpout(x, 0.04, training=True) == 0) & (x > 0)).double().mean(1, keepdim=True)
    assert_mean(silenced, torch.tensor([jumpout.expected_drop(0.04, p_max=active * 0.6)]), silenced.var(0))


def test_jumpout_has_its_stated_moments_after_a_relu() -> None:
    case = torch.tensor([0.0, 0.5, 0.0, 1.0, 2.0])
    for p in (0.1, 0.4):
        y = jumpout.jumpout(case.expand(100_000, 5), p, training=True).double()
        mean, variance = (moment(case[None].double(), p)[0] for moment in (jumpout.mean, jumpout.variance))
        assert_mean(y, mean, variance)
        assert_variance(y, mean, variance)
        assert bool((mean <= case).all())


def test_jumpout_scales_kept_units_by_the_power_of_three_quarters() -> None:
    y = jumpout.jumpout(torch.ones(20, 50), 0.1, p_min=0.36, p_max=0.36, training=True)
    assert set(y.unique().tolist()) == {0.0, torch.tensor(0.64).pow(-0.75).item()}


def test_jumpout_of_a_sample_does_not_depend_on_its_batch() -> None:
    model = nn.Sequential(Jumpout(0.3))
    rng = thinnet.DropoutRNG(1).bind(model)
    x, ids = torch.randn(12, 9).relu(), torch.randperm(100)[:12]
    whole = rng.at(3, ids) and model(x)
    parts = [rng.at(3, ids[i : i + 1]) and model(x[i : i + 1]) for i in range(12)]
    assert_same_bits(torch.cat(parts), whole)


def test_jumpout_without_active_units_returns_zeros() -> None:
    x = torch.zeros(3, 4, requires_grad=True)
    y = jumpout.jumpout(x, 0.5, training=True)
    y.sum().backward()
    assert x.grad is not None and bool((y == 0).all() and x.grad.isfinite().all())


def test_jumpout_refuses_invalid_bounds_and_inputs() -> None:
    for bounds in (dict(p_max=1.0), dict(p_min=-0.1), dict(p_min=0.4, p_max=0.3), dict(p_max=float("nan"))):
        with pytest.raises(ValueError, match="0 <= p_min <= p_max < 1"):
            Jumpout(0.1, **bounds)
        with pytest.raises(ValueError, match="0 <= p_min <= p_max < 1"):
            jumpout.jumpout(torch.ones(2, 3), 0.1, training=False, **bounds)
    with pytest.raises(ValueError, match=r"samples and units, \(N, \.\.\.\)"):
        Jumpout()(torch.ones(3))
    with pytest.raises(TypeError, match="x must be real"):
        Jumpout()(torch.ones(2, 3, dtype=torch.complex64))


def linear() -> nn.Linear:
    return nn.Linear(5, 3).double()


@pytest.mark.parametrize("reading", ("logit", "weights"))
def test_standout_in_eval_is_the_mean_over_all_masks(reading: standout.Reading) -> None:
    layer, x = linear(), torch.randn(4, 5).double()
    settings = dict(alpha=1.3, beta=0.4, reading=reading)
    site = Standout(layer, torch.tanh, **settings).eval()
    z = layer(x)
    pi = torch.sigmoid(1.3 * z + 0.4) if reading == "logit" else torch.sigmoid(x @ (1.3 * layer.weight + 0.4).T)
    total = torch.zeros(4, 3).double()
    for mask in itertools.product((0.0, 1.0), repeat=3):
        kept = torch.tensor(mask).double().expand(4, 3)
        h = standout.definition(x, kept, layer=layer, activation=torch.tanh, **settings)
        total += torch.where(kept > 0, pi, 1 - pi).prod(1, keepdim=True) * h
    torch.testing.assert_close(site(x), total)
    torch.testing.assert_close(standout.standout(x, layer, torch.tanh, training=False, **settings), total)


def test_the_weights_of_standout_get_gradients_from_kept_units_only() -> None:
    site = Standout(linear(), torch.tanh, beta=0.3)
    rng = thinnet.DropoutRNG(11).bind(nn.ModuleList([site]))
    x, ids = torch.randn(4, 5).double(), torch.arange(4)
    rng.at(7, ids)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), ids
    kept = (1 + reference.uniform(reference.noise(*where, 3))) / 2 >= 1 - torch.sigmoid(site.layer(x) + 0.3)
    ours = torch.autograd.grad(site(x).square().sum(), site.layer.weight)
    theirs = torch.autograd.grad((site.layer(x).tanh() * kept).square().sum(), site.layer.weight)
    torch.testing.assert_close(ours, theirs)


def test_functional_standout_draws_the_masks_of_the_class() -> None:
    layer, x = nn.Linear(5, 3), torch.randn(50, 5)
    torch.manual_seed(3)
    expected = Standout(layer)(x)
    torch.manual_seed(3)
    assert_same_bits(standout.standout(x, layer, training=True), expected)
    assert_same_bits(standout.standout(x, layer, training=True, generator=torch.Generator().manual_seed(3)), expected)


def test_standout_with_alpha_zero_is_dropout_that_scales_in_eval() -> None:
    site = Standout(nn.Linear(5, 3), torch.sigmoid, alpha=0.0, beta=math.log(3))
    y = site(torch.ones(100_000, 5))
    h = torch.sigmoid(site.layer(torch.ones(5))).double().detach()
    assert_mean(y.double().detach(), 0.75 * h, 0.1875 * h**2)
    torch.testing.assert_close(site.eval()(torch.ones(5)).double(), 0.75 * h)


def test_standout_has_the_state_dict_of_its_layer() -> None:
    bare, model = nn.Sequential(nn.Linear(5, 3)), nn.Sequential(Standout(nn.Linear(5, 3), nn.PReLU()))
    assert set(model.state_dict()) == {"0.weight", "0.bias", "0.activation.weight"}
    model.load_state_dict(bare.state_dict(), strict=False)
    assert_same_bits(model[0].weight, bare[0].weight)
    assert not nn.Sequential(nn.Linear(5, 3)).load_state_dict(Standout(nn.Linear(5, 3)).state_dict(prefix="0.")).missing_keys


def test_standout_refuses_invalid_arguments() -> None:
    with pytest.raises(TypeError, match="layer must be one of Linear; got Conv1d"):
        Standout(nn.Conv1d(1, 1, 1))  # type: ignore[arg-type]
    for options, match in (
        (dict(alpha=float("nan")), "alpha must be a finite number; got nan"),
        (dict(beta=float("inf")), "beta must be a finite number"),
        (dict(reading="both"), "reading must be 'logit' or 'weights'; got 'both'"),
    ):
        with pytest.raises(ValueError, match=match):
            Standout(nn.Linear(2, 2), **options)
        with pytest.raises(ValueError, match=match):
            standout.standout(torch.ones(2), nn.Linear(2, 2), training=True, **options)
