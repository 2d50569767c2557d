"""Counts, ids, precision and ranges: the numbers that methods have to get right at their edges."""

import copy
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet import functional as F
from thinnet.methods.graphs.edges import pairs
from thinnet.methods.recurrent import loop
from thinnet.methods.tokens.hidden_cut import span
from thinnet.methods.tokens.patch_dropout import kept_patches
from thinnet.methods.weights.targeted_dropout import candidates
from thinnet.rng import rates

RING = torch.stack((torch.arange(10), (torch.arange(10) + 1) % 10))
HUNDREDTHS = range(1, 100)


@pytest.mark.parametrize("count", (5, 10, 50, 100, 196))
def test_whole_parts_of_a_count_are_exact(count: int) -> None:
    edges = torch.arange(2 * count).reshape(2, count)
    for hundredths in HUNDREDTHS:
        p, exact = hundredths / 100, Fraction(hundredths * count, 100)
        assert drop(edges, p) == int(count - exact)
        assert int(candidates(torch.ones(1, count), p).sum()) == int(exact)
        assert span(count, p) == int(exact + Fraction(1, 2))
        assert kept_patches(count, p) == max(1, int(count - exact + Fraction(1, 2)))
    x = torch.ones(1, count, 1)
    assert {p: cut(x, p) for p in (0.15, 0.3, 0.7, 0.9)} == {p: span(count, p) for p in (0.15, 0.3, 0.7, 0.9)}


def drop(edges: Tensor, p: float) -> int:
    return F.drop_edge(edges, None, p, exact_count=True, training=True).edge_index.shape[1]


def cut(x: Tensor, p: float) -> int:
    return int((F.hidden_cut(x, p, training=True) == 0).sum())


def test_an_exact_count_holds_for_any_source_of_the_rate() -> None:
    assert drop(torch.zeros(2, 1_000_000, dtype=torch.int64), 0.3) == 700_000
    assert drop(RING, torch.tensor(0.8)) == drop(RING, 4 / 5) == 2
    layer = thinnet.nn.DropEdge(0.6, exact_count=True, rescale=True)
    kept = layer(RING, torch.ones(10, dtype=torch.float64))
    assert kept.edge_weight.tolist() == [2.5] * 4


def test_node_ids_of_any_type_and_size_name_their_pair() -> None:
    edges = torch.tensor([[0, 100, 3, 99, 3], [100, 0, 50, 3, 99]])
    for dtype in (torch.int64, torch.int32, torch.int16, torch.uint8):
        assert pairs(edges.to(dtype))[1].tolist() == pairs(edges)[1].tolist() == [0, 0, 1, 2, 2]
    assert pairs(edges * (1 << 55))[1].tolist() == [0, 0, 1, 2, 2]
    far = torch.stack((torch.tensor([0, 32768]), torch.tensor([70_000, 70_000])))
    assert pairs(torch.cat((far, torch.tensor([[1], [131_071]])), 1).int())[0] == 3
    nodes = F.drop_nodes(edges.to(torch.uint8), 0.5, training=True)
    assert nodes.edge_mask.tolist() == nodes.node_mask[edges].all(0).tolist()


def test_a_rate_below_one_keeps_the_expectation() -> None:
    p = 1 - 1e-6
    assert rates.count(p) == 65535 and rates.count(1.0) == 65536
    x = torch.ones(100)
    for at in (p, torch.tensor(p, dtype=torch.float64)):
        for function in (F.dropout, F.gaussian_dropout, F.max_pool_dropout1d):
            function(x.reshape(1, 1, -1), at, training=True)
        kept = torch.compile(F.dropout, backend="aot_eager")(torch.ones(2_000_000), at, training=True)
        assert set(kept.unique().tolist()) == {0.0, 65536.0}
    several = F.dropout(torch.ones(1_000_000, 2), [p, 1.0], training=True)
    assert set(several[:, 0].unique().tolist()) == {0.0, 65536.0} and not several[:, 1].any()


def test_consecutive_ids_do_not_wrap() -> None:
    model = nn.Sequential(thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(0).bind(model).at(0, (1 << 32) - 2)
    model(torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"samples must be integers in 0 .. 2\^32 - 1, one a row; got 3 rows from 4294967294"):
        model(torch.ones(3, 3))
    assert rng.step == 0


@pytest.mark.parametrize("columns", (3, 7))
def test_equal_columns_join_to_themselves_in_float64(columns: int) -> None:
    ones = [torch.ones(50, dtype=torch.float64)] * columns
    assert float((F.fractal_join(ones, 0.3, training=True) - 1).abs().max()) < 1e-15
    scales = F.drop_head(torch.ones(50, columns, 1, 1).double(), 0.3, training=True).flatten(1)
    assert float((scales.sum(1) - columns).abs().max()) < 1e-14


def test_no_weight_of_zero_meets_an_infinite_value_in_eval() -> None:
    x, old = torch.tensor([torch.inf, 1.0, -torch.inf]), torch.tensor([1.0, torch.inf, 2.0])
    assert F.zoneout(x, 0.0, old=old, training=False).tolist() == x.tolist()
    assert F.zoneout(x, 1.0, old=old, training=False).tolist() == old.tolist()
    window = torch.tensor([[[torch.inf, torch.inf, 1.0]]])
    assert F.max_pool_dropout1d(window, 0.0, kernel_size=3, training=False).tolist() == [[[torch.inf]]]
    assert F.max_pool_dropout1d(-window, 1.0, kernel_size=3, training=False).tolist() == [[[0.0]]]
    assert F.shake_drop(x[None, :2], 1.0, training=False).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("make", (thinnet.nn.FastDropout, lambda layer: thinnet.nn.SparseVariationalDropout(layer, -18.0)))
@pytest.mark.parametrize("autocast", (False, True))
def test_sums_of_squares_stay_in_the_range_of_float16(make, autocast: bool) -> None:
    for size in (1.0, 1e3):  # its square leaves the range, as that of the weights does
        layer, x = make(nn.Linear(8, 4, bias=False)), torch.full((4000, 8), size)
        layer.layer.weight.data.fill_(1e-4)
        expected = layer(x).std()
        with torch.autocast("cpu", torch.float16, enabled=autocast):
            found = layer(x).std() if autocast else copy.deepcopy(layer).half()(x.half()).float().std()
        assert 0.8 < float(found / expected) < 1.2


RECURRENT = [name for name in dir(thinnet.nn) if name.endswith(("LSTM", "GRU")) and "Zoneout" not in name]


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("autocast", (False, True))
def test_recurrent_masks_hold_the_scale_in_float32(monkeypatch: pytest.MonkeyPatch, name: str, autocast: bool) -> None:
    kind = "lstm" if name.endswith("LSTM") else "gru"
    work, seen = getattr(loop, kind), []
    monkeypatch.setattr(loop, kind, lambda *arguments: (seen.append(arguments[-2]), work(*arguments))[1])
    argument = {"p_input": 0.0, "p_hidden": 0.1} if name.startswith("Variational") else {"p": 0.1}
    layer, x = getattr(thinnet.nn, name)(4, 50, **argument), torch.randn(3, 2, 4)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        layer(x) if autocast else layer.bfloat16()(x.bfloat16())
    scale = 65536 / (65536 - rates.count(0.1))
    assert [float(mask.max()) for mask in seen[0] if mask is not None] == pytest.approx([scale], rel=1e-7)
