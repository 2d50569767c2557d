"""Max-norm: which vectors are shortened, and that nothing else changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from assertions import assert_same_bits
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn.utils.parametrizations import weight_norm

from thinnet.methods.weights.max_norm import _vectors, definition, max_norm_
from thinnet.methods.weights.weight_drop import WeightDrop

LAYERS = (
    nn.Linear(6, 5),
    nn.Conv1d(4, 6, 3, groups=2),
    nn.Conv2d(3, 4, 3),
    nn.Conv3d(2, 3, 2),
    nn.ConvTranspose1d(4, 6, 3, groups=2),
    nn.ConvTranspose2d(3, 4, 3),
    nn.ConvTranspose3d(2, 3, 2),
)


def incoming(layer: nn.Module) -> Tensor:
    """The incoming vector of each unit, one per row, found by the gradient of the unit."""
    x = torch.ones(1, layer.weight.shape[0 if getattr(layer, "transposed", False) else 1] * getattr(layer, "groups", 1))
    if getattr(layer, "transposed", False):
        x = x[:, : layer.in_channels]
    if not isinstance(layer, nn.Linear):
        x = x[:, :, None].expand(-1, -1, 9 ** (layer.weight.ndim - 2)).unflatten(-1, (9,) * (layer.weight.ndim - 2))
    y = layer(x.to(layer.weight.dtype))
    rows = []
    for unit in range(y.shape[1]):
        (used,) = torch.autograd.grad(y[:, unit].sum(), layer.weight, retain_graph=True)
        rows.append(layer.weight[used != 0])
    return torch.stack(rows)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("dtype", (torch.float32, torch.float64, torch.bfloat16), ids=str)
def test_long_vectors_are_shortened_and_others_keep_their_bits(layer: nn.Module, dtype: torch.dtype) -> None:
    layer = layer.to(torch.float32)
    nn.init.normal_(layer.weight)
    layer = layer.to(dtype)
    before, bias = incoming(layer).detach(), layer.bias.detach().clone()
    norm = float(before.double().norm(dim=1).median()) * 1.0001
    count = max_norm_(layer, norm)
    after = incoming(layer).detach()
    long = before.double().norm(dim=1) > norm
    assert int(count) == int(long.sum()) > 0 and bool((~long).any())
    assert_same_bits(after[~long], before[~long])
    assert_same_bits(layer.bias.detach(), bias)
    rounding = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(after.double(), definition(before.double(), norm), rtol=rounding, atol=0)


def test_layers_of_a_module_are_chosen_by_name() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Conv1d(3, 3, 1), nn.LayerNorm(3)), nn.Embedding(4, 3))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 5.0)
    assert int(max_norm_(model, 1.0, names="1.*")) == 3
    assert bool((model[0].weight == 5).all())
    assert int(max_norm_(model, 1.0)) == 3
    assert bool((model[2].weight == 5).all() and (model[1][1].weight == 5).all() and (model[0].bias == 5).all())
    assert int(max_norm_(model[2].weight, 1.0)) == 4
    assert int(max_norm_([model[2].weight, model[0].weight], 0.5)) == 7


def test_tied_weights_are_shortened_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    nn.init.constant_(model[0].weight, 5.0)
    assert int(max_norm_(model, 1.0)) == 3 and len(_vectors(model, "*")) == 1


def test_wrapped_layers_are_found() -> None:
    model = nn.Sequential(WeightDrop(nn.Linear(3, 2), 0.5))
    nn.init.constant_(model[0].weight, 5.0)
    assert int(max_norm_(model, 1.0)) == 2


def test_it_records_no_graph_and_training_continues() -> None:
    layer = nn.Linear(3, 2)
    optimiser = torch.optim.SGD(layer.parameters(), lr=10.0)
    for _ in range(3):
        optimiser.zero_grad()
        layer(torch.randn(4, 3)).square().sum().backward()
        optimiser.step()
        max_norm_(layer, 0.5)
        assert layer.weight.is_leaf and bool((layer.weight.norm(dim=1) <= 0.5001).all())


def test_invalid_arguments_are_refused() -> None:
    layer = nn.Linear(3, 2)
    for norm in (0, -1.0, float("nan"), float("inf"), True, "3"):
        with pytest.raises(ValueError, match=r"^max_norm_: norm must be a positive number; got "):
            max_norm_(layer, norm)
    with pytest.raises(ValueError, match=r"^max_norm_: a weight must have two axes or more; got shape \(2,\)"):
        max_norm_(layer.parameters())
    with pytest.raises(ValueError, match=r"Linear or Conv weights with names like 'x\.\*'; it has none\."):
        max_norm_(layer, names="x.*")
    with pytest.raises(ValueError, match=r"^max_norm_: 'weight' is computed by a parametrization"):
        max_norm_(weight_norm(layer))
    for target in (3, [], ["a"]):
        with pytest.raises(TypeError, match=r"^max_norm_: target must be a module, a weight or several weights"):
            max_norm_(target)


@pytest.fixture
def one_rank(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_sharded_weights_are_shortened_too(one_rank: None) -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.ConvTranspose1d(4, 6, 3, groups=2), nn.ConvTranspose1d(4, 6, 3))
    expected = [parameter.detach().clone() for parameter in model.parameters()]
    fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,)))
    count = max_norm_(model, 0.7)
    plain = nn.Sequential(nn.Linear(6, 5), nn.ConvTranspose1d(4, 6, 3, groups=2), nn.ConvTranspose1d(4, 6, 3))
    for parameter, value in zip(plain.parameters(), expected, strict=True):
        parameter.data.copy_(value)
    assert int(max_norm_(plain, 0.7)) == int(count.full_tensor() if hasattr(count, "full_tensor") else count)
    for parameter, other in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter.data, other.full_tensor().data)
