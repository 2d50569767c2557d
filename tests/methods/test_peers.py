"""Other libraries beside this one: where they agree, and where they differ.

Tests of a library are skipped if it is not installed.
"""

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from assertions import assert_mean, assert_rate, assert_same_bits, assert_variance
from torch import Tensor, nn

import thinnet
from thinnet.methods.attention.attention import attention
from thinnet.methods.attention.multihead_attention import MultiheadAttention
from thinnet.methods.elementwise.gaussian_dropout import GaussianDropout
from thinnet.methods.graphs.drop_edge import drop_edge
from thinnet.methods.graphs.drop_nodes import drop_nodes
from thinnet.methods.recurrent.locked_dropout import LockedDropout
from thinnet.methods.spatial.drop_block import DropBlock2d
from thinnet.methods.weights.drop_connect import DropConnect
from thinnet.methods.weights.weight_drop import WeightDrop

PATH = torch.tensor([[0, 1, 1, 2, 2, 3, 3], [1, 0, 2, 1, 3, 2, 3]])  # 0 - 1 - 2 - 3, and a self loop


@pytest.fixture(scope="module")
def keras():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        yield pytest.importorskip("keras")


@pytest.fixture(scope="module")
def pyg():
    return pytest.importorskip("torch_geometric.utils")


def whole(kept: Tensor, axes: tuple[int, ...]) -> bool:
    """Whether units along the shared axes are dropped together."""
    share = kept.double().mean(axes)
    return bool(((share == 0) | (share == 1)).all())


# torch


def test_torch_attention_drops_in_eval_and_ours_does_not() -> None:
    q = k = v = torch.randn(2, 4, 6, 8)
    expected = F.scaled_dot_product_attention(q, k, v)
    with torch.no_grad():  # no mode reaches the function
        assert not torch.equal(F.scaled_dot_product_attention(q, k, v, dropout_p=0.5), expected)
    assert_same_bits(attention(q, k, v, p=0.5, training=False), expected)


def test_torch_attention_returns_weights_after_dropout() -> None:
    x = torch.randn(2, 6, 8)
    theirs = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    ours = MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
    ours.load_state_dict(theirs.state_dict())
    assert not torch.allclose(theirs(x, x, x)[1].sum(-1), torch.ones(2, 6))
    torch.testing.assert_close(ours(x, x, x)[1], theirs.eval()(x, x, x)[1])


def test_torch_attention_has_no_dropout_module() -> None:
    theirs, ours = nn.MultiheadAttention(8, 2, dropout=0.5), MultiheadAttention(8, 2, dropout=0.5)
    assert not [module for module in theirs.modules() if "ropout" in type(module).__name__]
    assert [name for name, module in ours.named_modules() if isinstance(module, thinnet.rng.Site)] == ["dropout"]


# Keras, on torch


def test_keras_gaussian_dropout_has_our_moments(keras) -> None:
    x = torch.tensor([0.5, -2.0])
    for p, layer in itertools.product((0.2, 0.5), ("ours", "theirs")):
        many = x.expand(200_000, 2)
        y = GaussianDropout(p)(many) if layer == "ours" else keras.layers.GaussianDropout(p)(many, training=True)
        assert_mean(y.double(), x.double(), x.double() ** 2 * p / (1 - p))
        assert_variance(y.double(), x.double(), x.double() ** 2 * p / (1 - p))


def test_keras_takes_a_rate_of_one_and_divides_by_zero_later(keras) -> None:
    layer = keras.layers.GaussianDropout(1.0)
    with pytest.raises(ZeroDivisionError):
        layer(torch.ones(4), training=True)
    with pytest.raises(ValueError, match=r"GaussianDropout: p must be a number in \[0, 1\)"):
        GaussianDropout(1.0)


def test_keras_spatial_dropout_drops_channels_with_the_right_data_format(keras) -> None:
    x = torch.ones(64, 8, 5, 5)
    first = keras.layers.SpatialDropout2D(0.5, data_format="channels_first")(x, training=True)
    assert whole(first != 0, (2, 3)) and whole(thinnet.nn.Dropout2d(0.5)(x) != 0, (2, 3))
    assert_rate((first != 0).amax((2, 3)), 0.5)
    default = keras.layers.SpatialDropout2D(0.5)(x, training=True)  # the last axis is the channels: columns fall
    assert not whole(default != 0, (2, 3)) and whole(default != 0, (1, 2))


def test_keras_dropout_stays_off_after_train_and_leaks_infinities(keras) -> None:
    theirs, ours, x = keras.layers.Dropout(0.5).train(), thinnet.nn.Dropout(0.5).train(), torch.ones(64)
    assert torch.equal(theirs(x), x) and not torch.equal(ours(x), x)
    infinite = torch.full((64,), torch.inf)
    assert bool(theirs(infinite, training=True).isnan().any()) and not bool(ours(infinite).isnan().any())


def test_keras_layers_with_neighbouring_seeds_draw_the_same_masks_one_step_apart(keras) -> None:
    x = torch.ones(4, 64)
    one, other = (keras.layers.Dropout(0.5, seed=seed) for seed in (42, 43))
    masks, others = ([layer(x, training=True) != 0 for _ in range(5)] for layer in (one, other))
    assert all(torch.equal(masks[step + 1], others[step]) for step in range(4))
    model = nn.ModuleList([thinnet.nn.Dropout(0.5), thinnet.nn.Dropout(0.5)])
    rng = thinnet.DropoutRNG(42).bind(model)
    ours = [(rng.at(step) and model[0](x), model[1](x)) for step in range(5)]
    assert not any(torch.equal(a, b) for (a, _), (_, b) in itertools.product(ours, ours))


def test_keras_recurrent_dropout_has_one_mask_per_sequence(keras) -> None:
    cell, state = keras.layers.LSTMCell(4, recurrent_dropout=0.5), torch.ones(64, 4)
    steps = [torch.stack(list(cell.get_recurrent_dropout_mask(state))) for _ in range(3)]  # one mask for each gate
    assert len(steps[0]) == 4 and torch.equal(steps[0], steps[2]) and not torch.equal(steps[0][0], steps[0][1])
    ours = LockedDropout(0.5)(torch.ones(3, 64, 4))
    assert whole(ours != 0, (0,))
    assert set(ours.unique().tolist()) == set(steps[0].unique().tolist()) == {0.0, 2.0}


# PyTorch Geometric


def test_pyg_drops_edges_as_ours(pyg) -> None:
    edge_index = torch.randint(1000, (2, 50_000))
    for kept, mask in (pyg.dropout_edge(edge_index, 0.25), drop_edge(edge_index, p=0.25, training=True)[::2]):
        assert torch.equal(kept, edge_index[:, mask])
        assert_rate(~mask, 0.25)
    for kept, mask in (pyg.dropout_edge(PATH, training=False), drop_edge(PATH, training=False)[::2]):
        assert kept is PATH and bool(mask.all())


def test_pyg_sums_shrink_where_ours_can_be_rescaled(pyg) -> None:
    x = torch.randn(4, 2, dtype=torch.float64)

    def received(edge_index: Tensor, weight: Tensor) -> Tensor:
        return torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]] * weight[:, None])

    full = received(PATH, torch.ones(7))
    theirs = torch.stack([received((kept := pyg.dropout_edge(PATH, 0.25)[0]), torch.ones(kept.shape[1])) for _ in range(2000)])
    ours = torch.stack([received(*drop_edge(PATH, p=0.25, rescale=True, training=True)[:2]) for _ in range(2000)])
    assert_mean(theirs, full * 0.75, theirs.var(0))
    assert_mean(ours, full, ours.var(0))


def test_pyg_undirected_edges_double_self_loops_and_lose_one_way_edges(pyg) -> None:
    theirs = [pyg.dropout_edge(PATH, 0.5, force_undirected=True)[0] for _ in range(64)]
    ours = [drop_edge(PATH, p=0.5, force_undirected=True, training=True).edge_index for _ in range(64)]
    for drawn, loops in ((theirs, {0, 2}), (ours, {0, 1})):
        assert {int((kept[0] == kept[1]).sum()) for kept in drawn} == loops
        for kept in drawn:
            assert {*map(tuple, kept.T.tolist())} == {*map(tuple, kept.flip(0).T.tolist())}
    down = torch.tensor([[3], [0]])
    assert pyg.dropout_edge(down, 0.01, force_undirected=True)[0].shape == (2, 0)
    assert any(drop_edge(down, p=0.01, force_undirected=True, training=True).mask.item() for _ in range(9))


def test_pyg_returns_indices_in_training_and_a_mask_in_eval(pyg) -> None:
    for training, theirs in ((True, torch.int64), (False, torch.bool)):
        assert pyg.dropout_edge(PATH, 0.5, force_undirected=True, training=training)[1].dtype == theirs
        assert drop_edge(PATH, p=0.5, force_undirected=True, training=training).mask.dtype == torch.bool


def test_pyg_drops_the_same_edges_with_a_node(pyg) -> None:
    edge_index = torch.randint(20_000, (2, 20_000))
    for kept, edges, nodes in (
        pyg.dropout_node(edge_index, 0.25, num_nodes=20_000),
        drop_nodes(edge_index, 0.25, num_nodes=20_000, training=True),
    ):
        assert_rate(~nodes, 0.25)
        assert torch.equal(kept, pyg.subgraph(nodes, edge_index)[0]) and torch.equal(kept, edge_index[:, edges])


# pytorch-nlp


def test_torchnlp_weight_drop_fails_after_eval() -> None:
    torchnlp = pytest.importorskip("torchnlp.nn")
    x, lstm = torch.randn(5, 2, 3), nn.LSTM(3, 4)
    theirs, ours = torchnlp.WeightDropLSTM(3, 4, weight_dropout=0.5), WeightDrop(copy.deepcopy(lstm), 0.5)
    for layer in (theirs, ours):
        layer(x)
        layer.eval()(x)
    with pytest.raises(TypeError, match="cannot assign"):
        theirs.train()(x)
    assert not torch.equal(ours.train()(x)[0], ours(x)[0])
    assert ours.state_dict().keys() == lstm.state_dict().keys() != theirs.state_dict().keys()
    torch.testing.assert_close(ours.eval()(x), lstm(x))


def test_torchnlp_locked_dropout_equals_ours() -> None:
    torchnlp = pytest.importorskip("torchnlp.nn")
    x = torch.ones(7, 2000, 5)
    theirs, ours = torchnlp.LockedDropout(0.25)(x), LockedDropout(0.25)(x)
    for y in (theirs, ours):
        assert whole(y != 0, (0,)) and y.max() == pytest.approx(4 / 3)
        assert_rate(y[0] == 0, 0.25)


# baal


def test_baal_drop_connect_draws_new_weights_and_forgets_strides() -> None:
    baal = pytest.importorskip("baal.bayesian.weight_drop")
    model = nn.Sequential(nn.Conv2d(2, 2, 3, stride=2, padding=1, groups=2), nn.Flatten(), nn.Linear(32, 4))
    x = torch.randn(1, 2, 8, 8)
    theirs = baal.patch_module(model, ["Linear", "Conv2d"], weight_dropout=0.0, inplace=False)
    assert theirs[0](x).shape == (1, 2, 8, 8) and model[0](x).shape == (1, 2, 4, 4)
    assert not torch.equal(theirs[2].weight, model[2].weight)
    ours = nn.Sequential(DropConnect(copy.deepcopy(model[0]), 0.0), model[1], DropConnect(copy.deepcopy(model[2]), 0.0))
    torch.testing.assert_close(ours(x), model(x))


# DropBlock


def everywhere(x: Tensor, p: float, block: int) -> Tensor:
    """The paper's rate of seeds, which holds where a block fits, with seeds on the whole map."""
    height, width = x.shape[-2:]
    gamma = p * height * width / block**2 / ((height - block + 1) * (width - block + 1))
    return F.max_pool2d((torch.rand_like(x) < gamma).to(x.dtype), block, 1, block // 2) == 0


def test_seeds_on_the_whole_of_a_small_map_drop_nine_tenths_instead_of_one() -> None:
    x = torch.ones(4000, 1, 7, 7)
    assert float((~everywhere(x, 0.1, 7)).double().mean()) > 0.9
    dropped = DropBlock2d(0.1, block=7)(x) == 0
    assert whole(dropped, (1, 2, 3))
    assert_rate(dropped[:, 0, 0, 0], 0.1)
    middle = torch.ones(2000, 1, 14, 14)
    assert float((~everywhere(middle, 0.1, 7)).double().mean()) > 0.2
    share = (DropBlock2d(0.1, block=7)(middle) == 0).double().flatten(1).mean(1, keepdim=True)
    assert_mean(share, torch.tensor([0.1]).double(), share.var(0))
