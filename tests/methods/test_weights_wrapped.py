"""A wrapped layer has the state_dict of the bare one, and its parameters stay the same objects."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import thinnet
from thinnet.methods.weights.wrapped import Wrapped


class Halved(Wrapped):
    """Drops nothing; has its own saved buffer."""

    layers = (nn.Linear, nn.LSTM, nn.BatchNorm1d, Wrapped)

    def __init__(self, layer: nn.Module, p: float | None = 0.5) -> None:
        super().__init__(layer, p)
        self.register_buffer("own", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Plain(Wrapped):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def bare() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 3)), nn.Linear(3, 3))


def wrapped(kind: type[Wrapped] = Plain) -> nn.Sequential:
    model = bare()
    model[1][0], model[1][1], model[2] = kind(model[1][0]), kind(model[1][1]), kind(model[2])
    return model


def assert_alike(model: nn.Module, other: nn.Module) -> None:
    x = torch.randn(5, 3)
    torch.testing.assert_close(model.eval()(x), other.eval()(x))


def test_state_dicts_load_both_ways() -> None:
    for make in (wrapped, bare):
        source, target = make(), {wrapped: bare, bare: wrapped}[make]()
        assert list(source.state_dict()) == list(target.state_dict())
        target.load_state_dict(source.state_dict(), strict=True)
        assert_alike(source, target)
        target.load_state_dict(copy.deepcopy(source.state_dict()), strict=True, assign=True)
        assert_alike(source, target)


def test_own_keys_stay_and_unknown_keys_are_reported() -> None:
    model = wrapped(Halved)
    assert {"1.0.own", "1.0.weight", "1.0.running_mean", "2.own", "2.weight"} < set(model.state_dict())
    fresh = wrapped(Halved)
    model[2].own.fill_(3.0)
    fresh.load_state_dict(model.state_dict())
    assert bool((fresh[2].own == 3).all())
    with pytest.raises(RuntimeError, match=r"Missing key.*own"):
        wrapped(Halved).load_state_dict(bare().state_dict())
    with pytest.raises(RuntimeError, match=r"Unexpected key.*more"):
        wrapped().load_state_dict(bare().state_dict() | {"2.more": torch.zeros(1)})


def test_nested_wrappers_have_the_keys_of_the_layer() -> None:
    twice = Plain(Plain(nn.Linear(3, 3)))
    assert list(twice.state_dict()) == ["weight", "bias"]
    layer = nn.Linear(3, 3)
    twice.load_state_dict(layer.state_dict())
    assert_alike(twice, layer)


def test_a_layer_may_have_attributes_with_the_names_of_a_site() -> None:
    class Rated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rate, self.site = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))

    outside = Plain(Rated(), 0.25)
    assert outside.state_dict().keys() == {"rate", "site"} and outside.rate is outside.layer.rate
    outside.load_state_dict({"rate": torch.zeros(2), "site": torch.ones(3)})
    assert not outside.layer.rate.any()
    rng = thinnet.DropoutRNG(0).bind(outside)
    outside.p = 0.5
    assert (int(outside._rate(torch.device("cpu"))), outside.site.shape) == (32768, (3,))
    rng.unbind()


def test_copies_and_pickles_keep_the_keys_and_are_independent() -> None:
    model = wrapped()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(copy.deepcopy(model))):
        assert list(twin.state_dict()) == list(bare().state_dict())
        assert_alike(twin, model)
        twin.load_state_dict(bare().state_dict())
        assert not torch.equal(twin[2].weight, model[2].weight)


def test_parameters_stay_the_same_objects() -> None:
    layer = nn.Linear(3, 3)
    outside = Plain(layer)
    optimiser = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.clone()
    outside(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    assert outside.weight is layer.weight and not torch.equal(outside.weight, before)
    assert [name for name, _ in outside.named_parameters()] == ["layer.weight", "layer.bias"]


def test_weights_can_be_tied_through_it() -> None:
    embedding, head = nn.Embedding(5, 3), Plain(nn.Linear(3, 5))
    head.weight = embedding.weight
    assert head.layer.weight is embedding.weight and "weight" not in head._parameters
    model = copy.deepcopy(nn.ModuleList([embedding, head]))
    assert model[1].weight is model[0].weight
    assert len(list(model.parameters())) == 2
    model.to(torch.float64)
    assert model[1].weight is model[0].weight


def test_attributes_of_the_layer_are_attributes_of_the_wrapper() -> None:
    outside = Plain(nn.LSTM(3, 4, bidirectional=True), 0.25)
    assert (outside.hidden_size, outside.p, outside.weight_hh_l0.shape) == (4, 0.25, (16, 4))
    outside.flatten_parameters()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = outside.nothing


def test_other_layers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Halved: layer must be one of Linear, LSTM, .*; got Conv1d\."):
        Halved(nn.Conv1d(1, 1, 1))
    with pytest.raises(ValueError, match="Halved: p must be"):
        Halved(nn.Linear(1, 1), 1.5)


def test_the_address_of_a_mask_has_the_path_of_the_wrapper() -> None:
    assert sorted(thinnet.DropoutRNG(0).bind(wrapped()).sites) == ["1.0", "1.1", "2"]


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_it_works_under_ddp_and_fsdp(one_rank: None) -> None:
    expected = wrapped().eval()
    parallel = DistributedDataParallel(copy.deepcopy(expected))
    assert list(parallel.module.state_dict()) == list(bare().state_dict())
    assert_alike(parallel, expected)
    sharded = copy.deepcopy(expected)
    for part in (sharded[1][1], sharded[2], sharded):
        fully_shard(part, mesh=dist.init_device_mesh("cpu", (1,)))
    assert_alike(sharded, expected)
    state = get_model_state_dict(sharded)
    assert list(state) == list(bare().state_dict())
    set_model_state_dict(sharded, state)
    assert_alike(sharded, expected)
