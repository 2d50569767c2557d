"""Graphs: what is dropped, the mean of a sum over neighbours, and a small network that trains with both."""

import copy
import itertools
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_mean, assert_rate, assert_same_bits
from torch import Tensor, nn

import thinnet
from thinnet.methods.graphs import drop_edge as edge_file
from thinnet.methods.graphs import drop_nodes as nodes_file
from thinnet.methods.graphs import drop_walks as walks_file
from thinnet.methods.graphs.drop_edge import DropEdge, drop_edge
from thinnet.methods.graphs.drop_message import DropMessage, drop_message
from thinnet.methods.graphs.drop_node import DropNode
from thinnet.methods.graphs.drop_nodes import DropNodes, drop_nodes
from thinnet.methods.graphs.drop_walks import DropWalks, drop_walks
from thinnet.ops import reference

PATH = torch.tensor([[0, 1, 1, 2, 2, 3, 3], [1, 0, 2, 1, 3, 2, 3]])  # 0 - 1 - 2 - 3, and a self loop


def many_edges(count: int = 100_000, nodes: int = 1000) -> Tensor:
    return torch.randint(nodes, (2, count))


def summed(edge_index: Tensor, weight: Tensor | None, x: Tensor) -> Tensor:
    """The weighted sum over the incoming edges of every node."""
    messages = x[edge_index[0]] if weight is None else x[edge_index[0]] * weight[:, None]
    return torch.zeros_like(x).index_add(0, edge_index[1], messages)


def test_edges_are_dropped_at_the_rate() -> None:
    edge_index = many_edges()
    for p in (0.1, 0.5, 0.85):
        kept, weight, mask = drop_edge(edge_index, p=p, training=True)
        assert_rate(~mask, p)
        assert weight is None and torch.equal(kept, edge_index[:, mask])


def test_exact_count_keeps_a_fixed_number() -> None:
    edge_index = many_edges(1001)
    for p in (0.0, 0.25, 0.9, 1.0):
        masks = [drop_edge(edge_index, p=p, exact_count=True, training=True).mask for _ in range(3)]
        assert {int(mask.sum()) for mask in masks} == {int(1001 * (1 - round(p * 65536) / 65536))}
        assert p in (0.0, 1.0) or not torch.equal(masks[0], masks[1])
    masks = torch.stack([drop_edge(edge_index[:, :10], p=0.5, exact_count=True, training=True).mask for _ in range(4000)])
    for edge in range(10):
        assert_rate(masks[:, edge], 0.5)
    assert_rate(masks[:, 0] & masks[:, 1], 0.5 * 4 / 9)  # drawn without replacement


@pytest.mark.parametrize("exact", [False, True])
def test_both_directions_of_an_edge_share_a_decision(exact) -> None:
    one_way = many_edges(20_000)
    one_way[1] = torch.where(one_way[0] == one_way[1], (one_way[0] + 1) % 1000, one_way[1])
    order = torch.randperm(40_000)
    edge_index = torch.cat((one_way, one_way.flip(0)), 1)[:, order]
    kept, weight, mask = DropEdge(0.3, rescale=True, force_undirected=True, exact_count=exact)(edge_index)
    assert weight is not None
    in_order = torch.empty(40_000, dtype=torch.bool).scatter(0, order, mask)
    assert torch.equal(in_order[:20_000], in_order[20_000:])
    assert torch.equal(kept, edge_index[:, mask])
    forth, back = (set(map(tuple, ends.T.tolist())) for ends in (kept, kept.flip(0)))
    assert forth == back
    names = (edge_index.amin(0) * 1000 + edge_index.amax(0)).unique(return_inverse=True)[1]
    rng = torch.zeros(int(names.max()) + 1, dtype=torch.bool).scatter(0, names, mask)
    if exact:
        assert int(rng.sum()) == int(len(rng) * (65536 - 19661) / 65536)
        assert float(weight[0]) == pytest.approx(len(rng) / int(rng.sum()))
    else:
        assert_rate(~rng, 19661 / 65536)


def test_a_self_loop_is_an_edge_like_others() -> None:
    for undirected in (False, True):
        drawn = [drop_edge(PATH, p=0.5, force_undirected=undirected, training=True) for _ in range(500)]
        loops = torch.tensor([int((kept[0] == kept[1]).sum()) for kept, _, _ in drawn])
        assert set(loops.tolist()) == {0, 1}
        assert_rate(loops == 0, 0.5)


@pytest.mark.parametrize("undirected", [False, True])
def test_the_mean_over_all_masks_of_rescaled_sums_is_exact(undirected) -> None:
    """Enumerates every mask with its probability."""
    x, weight, p = torch.randn(4, 3, dtype=torch.float64), torch.rand(7, dtype=torch.float64), 0.3
    which = torch.tensor([0, 0, 1, 1, 2, 2, 3] if undirected else range(7))
    units = int(which.max()) + 1
    total = torch.zeros_like(x)
    for kept in itertools.product((0.0, 1.0), repeat=units):
        u = torch.tensor(kept)[which]
        chance = p ** kept.count(0.0) * (1 - p) ** kept.count(1.0)
        total += chance * summed(edge_file.definition(PATH, u, 0.5), weight[u >= 0.5] / (1 - p), x)
    torch.testing.assert_close(total, summed(PATH, weight, x))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("undirected", [False, True])
def test_the_sampled_mean_of_rescaled_sums_is_right(undirected, exact) -> None:
    x, weight = torch.randn(4, 3, dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    layer = DropEdge(0.25, rescale=True, force_undirected=undirected, exact_count=exact)
    draws = torch.stack([summed(*layer(PATH, weight)[:2], x) for _ in range(3000)])
    assert_mean(draws, summed(PATH, weight, x), draws.var(0))
    plain = torch.stack([summed(*layer(PATH)[:2], x) for _ in range(3000)])
    assert_mean(plain, summed(PATH, None, x), plain.var(0))


def test_without_rescaling_weights_are_unchanged() -> None:
    attributes = torch.randn(7, 5, requires_grad=True)
    _, kept, mask = drop_edge(PATH, attributes, 0.5, training=True)
    assert kept is not None
    assert_same_bits(kept, attributes[mask])
    (gradient,) = torch.autograd.grad(kept.sum(), attributes)
    assert torch.equal(gradient, mask[:, None].expand(7, 5).float())
    _, low, _ = drop_edge(many_edges(), torch.ones(100_000, dtype=torch.bfloat16), 0.1, rescale=True, training=True)
    assert low is not None and low.dtype == torch.bfloat16


def test_eval_and_rate_zero_drop_nothing() -> None:
    weight = torch.rand(7)
    for result in (DropEdge(0.5).eval()(PATH, weight), drop_edge(PATH, weight, 0.5, training=False)):
        assert result.edge_index is PATH and result.edge_weight is weight and bool(result.mask.all())
    for result in (DropEdge(0.0)(PATH, weight), drop_edge(PATH, weight, 0.0, training=True)):
        assert torch.equal(result.edge_index, PATH) and torch.equal(result.edge_weight, weight)
    for mode in (True, False):  # one type in both modes
        ones = DropEdge(0.0, rescale=True).train(mode)(PATH).edge_weight
        assert ones is not None and torch.equal(ones, torch.ones(7))
    nodes = DropNodes(0.5).eval()(PATH, 6)
    assert nodes.edge_index is PATH and bool(nodes.edge_mask.all()) and nodes.node_mask.tolist() == [True] * 6


def test_rate_one_and_empty_graphs_work() -> None:
    empty = torch.empty(2, 0, dtype=torch.int64)
    for undirected, exact, rescale in itertools.product((False, True), repeat=3):
        layer = DropEdge(1.0, rescale, undirected, exact)
        assert layer(PATH).edge_index.shape == (2, 0)
        assert layer(empty).edge_index.shape == (2, 0)
    assert DropNodes(1.0)(PATH).edge_index.shape == (2, 0)
    assert DropNodes(0.5)(empty, 3).node_mask.shape == (3,)


def test_dropped_nodes_drop_their_edges() -> None:
    edge_index = many_edges(20_000, 20_000)
    kept, edge_mask, node_mask = drop_nodes(edge_index, 0.3, num_nodes=30_000, training=True)
    p = 19661 / 65536
    assert_rate(~node_mask, p)
    assert torch.equal(edge_mask, node_mask[edge_index[0]] & node_mask[edge_index[1]])
    assert torch.equal(kept, edge_index[:, edge_mask])
    assert torch.equal(kept, nodes_file.definition(edge_index, node_mask.float(), 0.5))
    ends = torch.arange(20_000).reshape(2, -1)  # no two edges share a node
    assert_rate(drop_nodes(ends, 0.3, training=True).edge_mask, (1 - p) ** 2)
    assert_rate(drop_nodes(torch.stack([torch.arange(9000)] * 2), 0.3, training=True).edge_mask, 1 - p)


@pytest.mark.parametrize("layer", [DropEdge(0.5), DropEdge(0.5, force_undirected=True, exact_count=True), DropNodes(0.5)])
def test_addressed_masks_depend_on_the_step(layer) -> None:
    layer, edge_index = copy.deepcopy(layer), many_edges(500, 40)
    rng = thinnet.DropoutRNG(3).bind(nn.ModuleDict({"drop": layer}))
    first = rng.at(4, [9, 8, 7]) and layer(edge_index)[0]
    assert torch.equal(rng.at(4) and layer(edge_index)[0], first)
    assert not torch.equal(rng.at(5) and layer(edge_index)[0], first)


def test_undirected_masks_do_not_depend_on_the_order_of_the_edges() -> None:
    edge_index, order = many_edges(500, 40), torch.randperm(500)
    layer = DropEdge(0.5, force_undirected=True)
    rng = thinnet.DropoutRNG(3).bind(layer).at(4)
    mask = layer(edge_index).mask
    assert torch.equal(rng.at(4) and layer(edge_index[:, order]).mask, mask[order])


def test_a_node_has_the_same_mask_in_all_subgraphs() -> None:
    x, layer = torch.randn(50, 8), DropNode(0.5)
    rng = thinnet.DropoutRNG(3).bind(layer)
    whole = rng.at(2, range(50)) and layer(x)
    part = torch.randperm(50)[:20]
    assert_same_bits(rng.at(2, part) and layer(x[part]), whole[part])


def test_seeds_copies_and_pickles() -> None:
    edge_index = many_edges(300, 40)
    for layer, function in (
        (DropEdge(0.5), lambda **given: drop_edge(edge_index, p=0.5, training=True, **given)),
        (DropNodes(0.5), lambda **given: drop_nodes(edge_index, 0.5, training=True, **given)),
    ):
        torch.manual_seed(3)
        expected, other = layer(edge_index)[0], layer(edge_index)[0]
        assert not torch.equal(expected, other) and not layer.state_dict()
        for again in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            torch.manual_seed(3)
            assert torch.equal(again(edge_index)[0], expected)
        assert torch.equal(function(generator=torch.Generator().manual_seed(3))[0], expected)


def test_compiled_code_breaks_the_graph_and_equals_eager() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = DropEdge(0.5, rescale=True)

        def forward(self, x: Tensor) -> Tensor:
            return summed(*self.drop(PATH)[:2], x)

    model, x = Sum(), torch.randn(4, 3)
    rng = thinnet.DropoutRNG(3).bind(model)
    compiled = torch.compile(model, backend="eager")
    for step in range(4):
        torch.testing.assert_close(rng.at(step) and compiled(x), rng.at(step) and model(x))


def test_bad_arguments_are_refused() -> None:
    for wrong in (PATH.float(), PATH[0], PATH.T, PATH.bool()):
        for call in (DropEdge(0.5), DropNodes(0.5).eval()):
            with pytest.raises(ValueError, match=r"edge_index must be \(2, E\) integers"):
                call(wrong)
    with pytest.raises(ValueError, match="drop_edge: edge_weight must have one row for each of the 7 edges; got 3"):
        drop_edge(PATH, torch.ones(3), training=True)
    with pytest.raises(ValueError, match="DropNodes: num_nodes must be at least 4"):
        DropNodes(0.5)(PATH, 3)
    for p in (-0.1, 1.5, float("nan"), True):
        with pytest.raises(ValueError, match="drop_edge: p must be"):
            drop_edge(PATH, p=p, training=True)
        with pytest.raises(ValueError, match="DropNodes: p must be"):
            DropNodes(p)
    for function in (drop_edge, drop_nodes):
        with pytest.raises(TypeError, match="training"):
            function(PATH)


class GCN(nn.Module):
    """Two layers of Kipf and Welling: edges are dropped, then self loops are added and degrees counted."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(features, 16), nn.Linear(16, classes)
        self.drop_edge, self.drop_node = DropEdge(0.3, force_undirected=True), DropNode(0.3)

    def spread(self, edge_index: Tensor, x: Tensor) -> Tensor:
        loops = torch.arange(len(x)).expand(2, -1)
        edge_index = torch.cat((edge_index, loops), 1)
        degree = torch.bincount(edge_index[1], minlength=len(x)).to(x.dtype)
        return summed(edge_index, (degree[edge_index[0]] * degree[edge_index[1]]).rsqrt(), x)

    def forward(self, edge_index: Tensor, x: Tensor) -> Tensor:
        edge_index = self.drop_edge(edge_index).edge_index
        x = F.relu(self.spread(edge_index, self.first(self.drop_node(x))))
        return self.spread(edge_index, self.second(x))


def blocks(nodes: int = 300, classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """A stochastic block model: most neighbours share a class, and features carry little information."""
    labels = torch.arange(nodes) % classes
    chance = torch.where(labels[:, None] == labels, 0.09, 0.01).triu(1)
    one_way = (torch.rand(nodes, nodes) < chance).nonzero().T
    return torch.cat((one_way, one_way.flip(0)), 1), torch.randn(nodes, 8) + 0.7 * F.one_hot(labels, 8), labels


def test_a_graph_network_trains_with_dropped_edges_and_nodes() -> None:
    edge_index, x, labels = blocks()
    model = GCN(8, 3)
    thinnet.DropoutRNG(7).bind(model)
    rng = model.drop_edge.context
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    train = torch.randperm(300)[:60]
    for step in range(60):
        assert rng is not None
        rng.at(step, None)
        optimiser.zero_grad()
        F.cross_entropy(model(edge_index, x)[train], labels[train]).backward()
        optimiser.step()
    model.eval()
    first, again = model(edge_index, x), model(edge_index, x)
    assert_same_bits(first, again)
    others = torch.ones(300, dtype=torch.bool).index_fill(0, train, False)
    accuracy = float((first.argmax(1) == labels)[others].double().mean())
    alone = x[:, :3].argmax(1) == labels  # prediction from the features of a node alone
    assert accuracy > 0.85 > float(alone.double().mean())


# DropMessage


def test_messages_are_dropped_at_the_rate_and_scaled() -> None:
    messages = torch.randn(3, 5).expand(40_000, 3, 5).reshape(-1, 5)
    y = drop_message(messages, 0.25, training=True)
    assert_rate(y == 0, 0.25)
    torch.testing.assert_close(y[y != 0], messages[y != 0] / 0.75)
    assert drop_message(messages, 0.25, training=False) is messages


def test_a_layer_of_torch_geometric_drops_its_messages_and_not_in_eval() -> None:
    geometric = pytest.importorskip("torch_geometric")
    edge_index, x = torch.tensor([[0, 1, 2, 2], [1, 2, 0, 1]]), torch.ones(3, 4)
    bare = geometric.nn.SimpleConv(aggr="sum")
    layer = DropMessage(bare, 0.5)
    rng = thinnet.DropoutRNG(3).bind(layer)
    rng.at(1)
    y = layer(x, edge_index)
    mask = rng.mask(layer.name, step=1, samples=0, shape=(4, 4))[0]
    expected = torch.zeros(3, 4).index_add(0, edge_index[1], 2 * mask.float())
    assert_same_bits(y, expected)
    assert_same_bits(layer(x, edge_index), y) if rng.at(1) else None
    assert_same_bits(layer.eval()(x, edge_index), bare(x, edge_index))
    assert not bare._message_forward_hooks


def test_a_layer_without_messages_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^DropMessage: layer must pass messages; got Linear"):
        DropMessage(torch.nn.Linear(2, 2))
    geometric = pytest.importorskip("torch_geometric")
    layer, adjacency = DropMessage(geometric.nn.SimpleConv(aggr="sum")), torch.eye(3).to_sparse_csr()
    with pytest.raises(RuntimeError, match=r"^DropMessage: layer must compute messages; SimpleConv computed none"):
        layer(torch.ones(3, 4), adjacency)


# DropWalks

WALKED = torch.tensor([[0, 0, 1, 2, 2, 4], [1, 2, 2, 0, 3, 1]])  # node 3 is a dead end


def takes(edge: int, node: int, steps: int) -> float:
    """The probability that a walk of some steps from a node takes an edge, by enumeration."""
    leaving = [e for e in range(WALKED.shape[1]) if int(WALKED[0, e]) == node]
    if not leaving or not steps:
        return 0.0
    return sum(1.0 if e == edge else takes(edge, int(WALKED[1, e]), steps - 1) for e in leaving) / len(leaving)


@pytest.mark.parametrize("walk_length", [1, 2, 4])
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_walks_take_each_edge_with_its_exact_probability(walk_length: int, p: float) -> None:
    layer = DropWalks(p, walk_length)
    dropped = torch.stack([~layer(WALKED).mask for _ in range(3000)])
    for edge in range(WALKED.shape[1]):
        stays = math.prod(1 - p * takes(edge, int(start), walk_length) for start in WALKED[0])
        assert_rate(dropped[:, edge], 1 - stays)
    assert math.prod(1 - 0.2 * takes(0, int(start), 1) for start in WALKED[0]) == pytest.approx((1 - 0.2 / 2) ** 2)


def test_walks_equal_the_definition_and_the_functional_form() -> None:
    edge_index, layer = torch.randint(30, (2, 90)), DropWalks(0.3)
    rng = thinnet.DropoutRNG(11).bind(layer)
    rng.at(7)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number(layer.name)), torch.tensor([0])
    u = (1 + reference.uniform(reference.noise(*where, 90 * 4)).reshape(90, 4)) / 2
    kept, weight, mask = layer(edge_index, torch.arange(90.0))
    assert torch.equal(kept, walks_file.FACTS.definition(edge_index, u, round(0.3 * 65536) / 65536))
    assert torch.equal(weight, torch.arange(90.0)[mask]) and torch.equal(kept, edge_index[:, mask])
    assert layer.eval()(edge_index).edge_index is edge_index
    rng.unbind()
    torch.manual_seed(2)
    first = layer.train()(edge_index).mask
    torch.manual_seed(2)
    assert torch.equal(drop_walks(edge_index, p=0.3, training=True).mask, first)


def test_undirected_walks_drop_both_directions_and_empty_graphs_stay_empty() -> None:
    one = torch.randint(20, (2, 40))
    both = torch.cat((one, one.flip(0)), 1)
    kept = DropWalks(0.2, force_undirected=True)(both).edge_index
    assert {*map(tuple, kept.T.tolist())} == {*map(tuple, kept.flip(0).T.tolist())} and 0 < kept.shape[1] < 80
    assert DropWalks(0.5)(torch.zeros(2, 0, dtype=torch.int64)).mask.shape == (0,)
    with pytest.raises(ValueError, match=r"^DropWalks: walk_length must be a positive integer; got 0"):
        DropWalks(walk_length=0)
