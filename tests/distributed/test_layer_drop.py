"""Skipped layers and branches on several ranks: no rank waits for a gradient, and 2 ranks train as one process does."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from processes import assert_ranks
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import thinnet
from thinnet.methods.residual.layer_drop import LayerDrop
from thinnet.methods.residual.stochastic_depth import StochasticDepth

STEPS, BATCH, WIDTH, RANKS = 12, 8, 5, 2


def build() -> nn.Sequential:
    """A stack of three layers, all of which fall in every eighth step, and two blocks whose branches may fall."""
    torch.manual_seed(1)
    layers = LayerDrop([nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(3)], 0.5)
    blocks = [StochasticDepth(nn.Linear(WIDTH, WIDTH), 0.5, mode="batch") for _ in range(2)]
    return nn.Sequential(layers, *blocks, nn.Linear(WIDTH, 1)).double()


def train(model: nn.Module, rng: thinnet.DropoutRNG | None, rank: int = 0, ranks: int = 1) -> list[bool]:
    """Trains with what an idle gradient moves too: momentum and decay. Returns in which steps the first layer ran."""
    source = torch.Generator().manual_seed(5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1)
    ran: list[bool] = []
    first = next(module for module in model.modules() if isinstance(module, LayerDrop))[0]
    first.register_forward_hook(lambda *_: ran.append(True))
    for step in range(STEPS):
        ids = torch.randint(1000, (BATCH,), generator=source)
        x = torch.randn(BATCH, WIDTH, dtype=torch.float64, generator=source)
        if rng is not None:
            rng.at(step, ids[rank::ranks])
        before = len(ran)
        model(x[rank::ranks]).square().mean().backward()
        ran[before:] = [len(ran) > before]
        optimizer.step()
        optimizer.zero_grad()
    return ran


def weights(model: nn.Module) -> dict[str, Tensor]:
    state = {name.removeprefix("module."): value.detach() for name, value in model.state_dict().items()}
    return {name: value.full_tensor() if hasattr(value, "full_tensor") else value for name, value in state.items()}


def sharded(model: nn.Sequential) -> nn.Sequential:
    mesh = init_device_mesh("cpu", (RANKS,))
    for layer in (*model[0].children(), model[1], model[2], model):
        fully_shard(layer, mesh=mesh)
    return model


def work(folder: Path) -> None:
    """One rank."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=30))
    rank, seen = dist.get_rank(), {}
    try:
        for way in ("ddp", "fsdp"):
            for addressed in (True, False):
                model = build()
                rng = thinnet.DropoutRNG(3).bind(model) if addressed else None
                wrapped = DistributedDataParallel(model) if way == "ddp" else sharded(model)
                torch.manual_seed(rank)  # without addresses, masks must not rely on equal seeds
                seen[way, addressed] = train(wrapped, rng, rank, RANKS), weights(wrapped)
        torch.save(seen, folder / f"{rank}.pt")
        dist.barrier()
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """The results of each rank."""
    folder = tmp_path_factory.mktemp("ranks")
    assert_ranks(RANKS, Path(__file__), folder)
    return [torch.load(folder / f"{rank}.pt") for rank in range(RANKS)]


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_addressed_masks_train_on_two_ranks_as_in_one_process(seen: list[dict], way: str) -> None:
    model = build()
    rng = thinnet.DropoutRNG(3).bind(model)
    expected = train(model, rng), weights(model)
    masks = torch.cat([rng.mask("0", step=step, samples=[0], shape=(3,)) for step in range(STEPS)])
    assert bool((~masks).all(1).any())  # also with no layer at all
    for rank in seen:
        assert rank[way, True][0] == expected[0] == masks[:, 0].tolist()
        torch.testing.assert_close(rank[way, True][1], expected[1], rtol=1e-9, atol=1e-11)


def test_replicas_without_addresses_differ_in_masks_and_agree_in_weights(seen: list[dict]) -> None:
    one, other = (rank["ddp", False] for rank in seen)
    assert one[0] != other[0]
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=0)


def test_shards_agree_without_addresses(seen: list[dict]) -> None:
    one, other = (rank["fsdp", False] for rank in seen)
    assert one[0] == other[0] and len(set(one[0])) == 2
    torch.testing.assert_close(one[1], other[1], rtol=0, atol=0)


if __name__ == "__main__":
    work(Path(sys.argv[1]))
