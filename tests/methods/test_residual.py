"""Stochastic depth by batch, ShakeDrop at all levels and the joins of FractalNet, beyond the invariants."""

import copy
import itertools
import pickle
from collections.abc import Callable

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_mean, assert_rate, assert_same_bits, assert_variance
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.residual import fractal_join, shake_drop
from thinnet.methods.residual.drop_path import DropPath
from thinnet.methods.residual.fractal_join import FractalJoin, FractalPath
from thinnet.methods.residual.shake_drop import ShakeDrop
from thinnet.methods.residual.stochastic_depth import StochasticDepth
from thinnet.ops import reference
from thinnet.schedules import DepthWise, Linear, linear_rates


class Counted(nn.Linear):
    """A branch that counts how often it is computed."""

    runs = 0

    def forward(self, x: Tensor, shift: float = 0.0) -> Tensor:
        self.runs += 1
        return super().forward(x) + shift


def block(p: float = 0.5) -> StochasticDepth:
    return StochasticDepth(Counted(3, 3), p, mode="batch")


def test_a_dropped_branch_is_not_computed_and_kept_ones_are_scaled() -> None:
    layer, x, steps = block(0.3), torch.randn(4, 3), 3000
    y = torch.stack([layer(x) for _ in range(steps)]).detach()
    kept = (y != x).flatten(1).any(1)
    assert_rate(~kept, thinnet.rng.rates.count(0.3) / 65536)
    assert layer.layer.runs == int(kept.sum())
    torch.testing.assert_close(y[kept], (x + layer.layer(x) / (1 - 0.3)).expand(int(kept.sum()), 4, 3), rtol=1e-4, atol=1e-5)
    assert_same_bits(y[~kept], x.expand(int((~kept).sum()), 4, 3).contiguous())


def test_rates_zero_and_one_and_eval_are_exact() -> None:
    x = torch.randn(4, 3)
    for p, y in ((0.0, lambda layer: x + layer.layer(x)), (1.0, lambda layer: x)):
        layer = block(p)
        assert_same_bits(layer(x), y(layer))
        assert_same_bits(layer.eval()(x, 0.0), x + layer.layer(x))
    assert_same_bits(block(1.0).train()(x, shift=2.0), x)


def test_the_classic_form_trains_the_same_networks() -> None:
    layer, x, q = block(0.25), torch.randn(4, 3).double(), 0.75
    layer.double()
    classic = copy.deepcopy(layer.layer)
    with torch.no_grad():
        classic.weight /= q
        classic.bias /= q  # f of the paper, (1 - p) f in eval
    torch.testing.assert_close(layer.eval()(x), x + q * classic(x))
    thinned = {True: x + classic(x), False: x}
    for _ in range(20):
        y = layer.train()(x)
        torch.testing.assert_close(y, thinned[not torch.equal(y, x)])


def test_a_dropped_branch_has_gradients_of_zero_and_what_follows_may_write_in_place() -> None:
    layer, x = nn.Sequential(block(1.0), nn.ReLU(inplace=True)), torch.randn(4, 3, requires_grad=True)
    before = x.detach().clone()
    layer(x).sum().backward()
    assert torch.equal(x.detach(), before)
    assert torch.equal(x.grad, (before > 0).float())
    for parameter in layer.parameters():
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))
        assert parameter.grad.is_contiguous()
    layer(x).sum().backward()  # again, accumulated


def test_a_frozen_branch_and_a_step_without_gradients_are_tied_to_nothing() -> None:
    layer, x = block(1.0).requires_grad_(False), torch.randn(4, 3)
    assert not layer(x).requires_grad
    with torch.no_grad():
        assert not layer.requires_grad_(True)(x).requires_grad
    assert layer(x).requires_grad


def test_second_derivatives_go_through_a_dropped_branch() -> None:
    layer, x = block(1.0).double(), torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(layer, x)
    torch.autograd.gradgradcheck(lambda x: layer(x) ** 2, x)


def test_addressed_decisions_do_not_depend_on_batch_or_checkpointing() -> None:
    model = nn.Sequential(*(block() for _ in range(12)))
    rng, x = thinnet.DropoutRNG(4).bind(model), torch.randn(6, 3, requires_grad=True)

    def ran(part: Tensor, run: Callable[..., Tensor] = nn.Module.__call__) -> list[bool]:
        for layer in model:
            layer.layer.runs = 0
        run(model, part)
        return [layer.layer.runs > 0 for layer in model]

    expected = [bool(rng.mask(str(index), step=2, samples=[0], shape=(1,))) for index in range(12)]
    assert 0 < sum(expected) < 12
    for ids in ([5, 1, 2, 8, 3, 9], None, 40):
        rng.at(2, ids)
        assert ran(x) == expected
    rng.at(2, [7, 7])
    assert ran(x[:2]) == expected
    rng.at(2)
    plain = torch.autograd.grad(model(x).square().sum(), x)[0]
    again = torch.autograd.grad(checkpoint(model, x, use_reentrant=False, context_fn=rng.recompute).square().sum(), x)[0]
    assert_same_bits(plain, again)
    rng.unbind()
    torch.manual_seed(2)
    first = [ran(x), ran(x)]
    torch.manual_seed(2)
    assert first == [ran(x), ran(x)] and first[0] != first[1]


@pytest.mark.parametrize("mode", ["row", "batch"])
def test_compiled_code_selects_what_eager_code_skips(mode: str) -> None:
    model = nn.Sequential(*(StochasticDepth(nn.Linear(3, 3), 0.5, mode=mode) for _ in range(4)))
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    rng, compiled = thinnet.DropoutRNG(4).bind(model), torch.compile(model, backend=counter, fullgraph=True)
    for step in range(6):
        model[0].p, x = step / 7, torch.randn(5, 3)
        rng.at(step)
        runs = [run(x) for run in (model, compiled)]
        torch.testing.assert_close(*runs)
        one, other = (torch.autograd.grad(y.square().sum(), list(model.parameters())) for y in runs)
        torch.testing.assert_close(one, other)
    assert counter.frame_count == 1


def test_a_symbolic_trace_keeps_a_block_as_one_node() -> None:
    traced = fx.symbolic_trace(nn.Sequential(block(), DropPath(0.5)))
    assert [node.op for node in traced.graph.nodes] == ["placeholder", "call_module", "call_module", "output"]


def test_a_checkpoint_has_the_keys_of_the_branch() -> None:
    assert list(block().state_dict()) == ["weight", "bias"]
    twin = pickle.loads(pickle.dumps(block(1.0)))
    assert (twin.p, twin.mode) == (1.0, "batch")


def test_bad_modes_and_branches_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^StochasticDepth: mode must be 'row' or 'batch'; got 'sample'"):
        StochasticDepth(nn.ReLU(), 0.5, mode="sample")
    with pytest.raises(TypeError, match="StochasticDepth"):
        StochasticDepth(torch.relu, 0.5)


def test_linear_rates_cover_the_three_conventions() -> None:
    p, depth = 0.4, 7
    timm = torch.linspace(0, p, depth).tolist()
    paper = [p * layer / depth for layer in range(1, depth + 1)]
    for ours, theirs in ((linear_rates(p, depth), timm), (linear_rates(p, depth, first=1 / depth), paper)):
        assert ours == pytest.approx(theirs, abs=1e-7)
    assert linear_rates(p, depth, first=1.0) == [p] * depth
    assert linear_rates(p, 1) == [p]
    for wrong in (0, -1, True, 2.0):
        with pytest.raises(ValueError, match=r"^linear_rates: depth must be a positive integer"):
            linear_rates(p, wrong)
    with pytest.raises(ValueError, match=r"^linear_rates: p must be"):
        linear_rates(40, 3)


def test_a_schedule_that_starts_at_zero_works() -> None:
    model = nn.Sequential(*(DropPath(p) for p in linear_rates(0.0, 3)), block(0.0))
    rng = thinnet.DropoutRNG(0, {"*": DepthWise(Linear(0.0, 0.6, steps=10))}).bind(model)
    assert [rng.at(step) and model[2].p for step in (0, 5, 10)] == pytest.approx([0.0, 0.2, 0.4])


LEVELS = {"batch": (1, 1, 1), "sample": (300, 1, 1), "channel": (300, 4, 1), "pixel": (300, 4, 5)}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_has_its_own_factors_forward_and_backward(level: str) -> None:
    layer, x = ShakeDrop(1.0, level=level), torch.ones(300, 4, 5, requires_grad=True)
    y = layer(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    for factors, low in ((y.detach(), -1), (gradient, 0)):
        shape = LEVELS[level]
        first = factors[: shape[0], : shape[1], : shape[2]]
        assert torch.equal(factors, first.expand(300, 4, 5))
        assert first.unique().numel() > 0.99 * first.numel()
        assert bool(((low < factors) & (factors < 1)).all())
    assert not torch.equal(2 * gradient - 1, y.detach())


@pytest.mark.parametrize("level", ["channel", "pixel"])
def test_a_level_equals_its_definition_in_any_batch(level: str) -> None:
    x, ids = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True), torch.tensor([4, 9, 2, 7, 0, 1])
    layer = ShakeDrop(0.5, level=level, alpha=(-0.5, 2.0), beta=(0.1, 0.2))
    rng = thinnet.DropoutRNG(3).bind(nn.Sequential(layer))
    rows, count = shake_drop._noise_shape(x.shape, level)
    where = torch.tensor(3), torch.tensor(8), torch.tensor(thinnet.rng.site_number("0"))
    u = ((1 + reference.uniform(reference.noise(*where, ids, count))) / 2).double()
    assert rows == len(ids) and 0 < int((u[:, 0] < 0.5).sum()) < 6
    y = rng.at(8, ids) and layer(x)
    expected = shake_drop.definition(x, u, 0.5, level, alpha=(-0.5, 2.0), beta=(0.1, 0.2))
    torch.testing.assert_close(y, expected)
    weight = torch.randn_like(x)
    torch.testing.assert_close(torch.autograd.grad(y, x, weight), torch.autograd.grad(expected, x, weight))
    torch.testing.assert_close(rng.at(8, ids[3:]) and layer(x[3:]), y[3:])


def test_level_batch_has_one_b_for_the_batch() -> None:
    layer, case, draws = ShakeDrop(0.5, level="batch"), torch.tensor([[2.0]]), 4000
    y = torch.stack([layer(case.expand(3, 1))[:, 0] for _ in range(draws)])
    assert torch.equal(y, y[:, :1].expand(draws, 3))
    assert_rate(y[:, 0] != 2, 0.5)
    given = {"x": case.double(), "p": 0.5, "level": "batch"}
    mean, variance = shake_drop.FACTS.mean(**given)[0], shake_drop.FACTS.variance(**given)[0]
    assert_mean(y[:, :1].double(), mean, variance)
    assert_variance(y[:, :1].double(), mean, variance)


def test_eval_equals_the_expectation_for_any_ranges() -> None:
    x = torch.randn(3, 2)
    layer = ShakeDrop(0.25, alpha=(0.0, 1.0)).eval()
    torch.testing.assert_close(layer(x), x * (0.75 + 0.25 * 0.5))
    ours = shake_drop.shake_drop(x, torch.tensor(0.25), alpha=(0.0, 1.0), training=False)
    assert_same_bits(ours, layer(x))


def test_bad_levels_and_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^ShakeDrop: level must be one of batch, sample, channel, pixel; got 'image'"):
        ShakeDrop(0.5, level="image")
    for pair in ((1.0, 0.0), (float("nan"), 1.0), (0.0, float("inf")), (0.0,)):
        with pytest.raises(ValueError, match=r"^shake_drop: beta must be two finite numbers"):
            shake_drop.shake_drop(torch.ones(2), beta=pair, training=True)


def enumerated(columns: list[Tensor], p: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of the local join, over all outcomes."""
    count, chances, values = len(columns), [], []
    for kept in itertools.product((0.0, 1.0), repeat=count):
        chance = torch.tensor([1 - p if k else p for k in kept], dtype=torch.float64).prod()
        for last in range(count):
            u = torch.tensor([*(k * (1 - 2**-24) for k in kept), (last + 0.5) / count], dtype=torch.float64)
            chances.append(chance / count)
            values.append(fractal_join.definition(columns, u.expand(len(columns[0]), -1), p))
    weights = torch.stack(chances).reshape(-1, *(1,) * columns[0].ndim)
    mean = (weights * torch.stack(values)).sum(0)
    return mean, (weights * (torch.stack(values) - mean) ** 2).sum(0)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("p", [0.15, 0.5, 0.9, 1.0])
def test_the_facts_of_a_join_equal_the_sum_over_all_outcomes(count: int, p: float) -> None:
    columns = list(torch.randn(count, 2, 3, dtype=torch.float64))
    mean, variance = enumerated(columns, p)
    torch.testing.assert_close(fractal_join.FACTS.mean(columns, p), mean)
    torch.testing.assert_close(fractal_join.FACTS.variance(columns, p), variance)


def test_a_local_join_has_its_declared_moments() -> None:
    count, draws, p = 3, 60_000, thinnet.rng.rates.count(0.6) / 65536
    case = torch.randn(count, 1, 2)
    columns = [column.expand(draws, 2).clone().requires_grad_() for column in case]
    y = FractalJoin(0.6)(columns)
    gradients = torch.stack(torch.autograd.grad(y.sum(), columns))[..., 0]  # the weight of each column
    torch.testing.assert_close(gradients.sum(0), torch.ones(draws))
    dropped = (gradients == 0).double().mean(0)
    assert_mean(dropped[:, None], torch.tensor([fractal_join.FACTS.expected_drop(p, columns=count)]), dropped.var(0))
    single = gradients[:, (gradients > 0).sum(0) == 1]
    for weights in single:  # symmetric: each column survives alone equally often
        assert_rate(weights > 0, 1 / count)
    given = [column.double() for column in case], p
    mean, variance = fractal_join.FACTS.mean(*given)[0], fractal_join.FACTS.variance(*given)[0]
    assert_mean(y.detach().double(), mean, variance)
    assert_variance(y.detach().double(), mean, variance)


def test_a_join_equals_its_definition_with_addressed_masks_in_any_batch() -> None:
    columns, ids = list(torch.randn(3, 6, 2, dtype=torch.float64)), torch.tensor([4, 9, 2, 7, 0, 1])
    layer = FractalJoin(0.5)
    rng = thinnet.DropoutRNG(3).bind(nn.Sequential(layer))
    where = torch.tensor(3), torch.tensor(8), torch.tensor(thinnet.rng.site_number("0"))
    u = ((1 + reference.uniform(reference.noise(*where, ids, 4))) / 2).double()
    y = rng.at(8, ids) and layer(columns)
    torch.testing.assert_close(y, fractal_join.definition(columns, u, 0.5))
    torch.testing.assert_close(rng.at(8, ids[2:]) and layer([column[2:] for column in columns]), y[2:])


def test_both_forms_of_a_join_agree_and_dropped_columns_do_not_leak() -> None:
    columns = [torch.full((200, 2), torch.inf), torch.ones(200, 2), torch.zeros(200, 2)]
    torch.manual_seed(5)
    y = FractalJoin(0.5)(columns)
    torch.manual_seed(5)
    assert_same_bits(fractal_join.fractal_join(columns, 0.5, training=True), y)
    assert not y.isnan().any() and 0 < y.isinf().sum() < y.numel()
    half = [column.bfloat16() for column in columns]
    assert FractalJoin(0.5)(half).dtype == torch.bfloat16
    for layer in (FractalJoin(0.5).eval(), FractalJoin(0.0)):
        torch.testing.assert_close(layer(columns[1:]), torch.full((200, 2), 0.5))
    torch.testing.assert_close(fractal_join.fractal_join(columns[1:], 0.9, training=False), torch.full((200, 2), 0.5))


class Fractal(nn.Module):
    """Two joins: an inner one of the last two columns and an outer one of all three."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.path = FractalPath(3, p)
        self.inner, self.outer = FractalJoin(0.5, self.path), FractalJoin(0.5, self.path)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.path(x)
        inner = self.inner([2 * x, 3 * x])
        return inner, self.outer([x, 2 * x, 3 * x])


def test_a_path_cuts_the_whole_network_to_one_column() -> None:
    model, x = Fractal(1.0), torch.ones(50, 2)
    seen = []
    for _ in range(1000):
        inner, outer = model(x)
        column = float(outer[0, 0])
        assert torch.equal(outer, column * x)
        assert torch.equal(inner, (0 if column == 1 else column) * x)
        seen.append(column)
    for column in (1, 2, 3):
        assert_rate(torch.tensor(seen) == column, 1 / 3)


def test_a_path_keeps_joins_local_at_its_rate() -> None:
    model, x = Fractal(0.25), torch.ones(60, 1)
    local = torch.tensor([len(model(x)[1].unique()) > 1 for _ in range(1000)])  # 60 samples rarely agree by chance
    assert_rate(~local, 0.25)
    inner, outer = model.eval()(x)
    torch.testing.assert_close((inner, outer), (2.5 * x, 2 * x))


def test_a_network_with_a_path_is_one_graph() -> None:
    model, x = Fractal(0.5), torch.randn(5, 2)
    rng = thinnet.DropoutRNG(2).bind(model)
    assert set(rng.sites) == {"path", "inner", "outer"} and not model.state_dict()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(6):
        rng.at(step)
        torch.testing.assert_close(compiled(x), model(x))
    assert counter.frame_count <= 2  # the first pass has no earlier column


def test_bad_columns_are_refused() -> None:
    for columns in ([], [torch.ones(2), torch.ones(3)], [torch.ones(())]):
        with pytest.raises(ValueError, match=r"^FractalJoin: columns must be tensors of one shape"):
            FractalJoin()(columns)
        with pytest.raises(ValueError, match=r"^fractal_join: columns must be tensors of one shape"):
            fractal_join.fractal_join(columns, training=True)
    with pytest.raises(ValueError, match=r"^FractalJoin: columns must be at most the 2 of its path; got 3"):
        FractalJoin(0.5, FractalPath(2))([torch.ones(2)] * 3)
    for wrong in (0, True, 2.0):
        with pytest.raises(ValueError, match=r"^FractalPath: columns must be a positive integer"):
            FractalPath(wrong)
    for make in (FractalJoin, lambda p: FractalPath(3, p)):
        with pytest.raises(ValueError, match="p must be a number in"):
            make(1.5)
