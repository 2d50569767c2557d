"""A small training that the tests of invariance run in many ways, with the same masks and weights."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

import thinnet

STEPS, BATCH, SAMPLES, FEATURES, HIDDEN = 20, 64, 256, 24, 40
Tables = dict[str, Tensor]


def data() -> tuple[Tensor, Tensor]:
    """Inputs of ones and minus ones, so that the noise on them is exact, and three classes."""
    source = torch.Generator().manual_seed(5)
    x = torch.randint(2, (SAMPLES, FEATURES), generator=source).double() * 2 - 1
    return x, torch.randint(3, (SAMPLES,), generator=source)


def batch(step: int) -> Tensor:
    """The sample ids of a step."""
    return torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(step))[:BATCH]


def build() -> nn.Sequential:
    """The network, with the same weights each time, in float64: what differs by more than rounding shows."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = OrderedDict(
            noise=thinnet.nn.GaussianDropout(0.2),
            first=nn.Linear(FEATURES, HIDDEN),
            tanh=nn.Tanh(),
            drop=thinnet.nn.Dropout(0.5),
            last=nn.Linear(HIDDEN, 3),
        )
        return nn.Sequential(layers).double()


def whole(t: Tensor) -> Tensor:
    """All of a DTensor, gathered; a tensor as it is."""
    return t.full_tensor() if hasattr(t, "full_tensor") else t


class Record:
    """The noise and the masks of the forward and the backward pass, by step and sample."""

    def __init__(self, model: nn.Sequential) -> None:
        self.tables: Tables = {
            "noise": torch.full((STEPS, SAMPLES, FEATURES), torch.nan, dtype=torch.float64),
            "forward": torch.full((STEPS, SAMPLES, HIDDEN), torch.nan, dtype=torch.float64),
            "backward": torch.full((STEPS, SAMPLES, HIDDEN), torch.nan, dtype=torch.float64),
        }
        self.step, self.ids = 0, torch.tensor([])
        model.noise.register_forward_hook(lambda _, inputs, y: self._write("noise", y * inputs[0]))
        model.drop.register_forward_hook(lambda _, inputs, y: self._drop(inputs[0], y))

    def _write(self, name: str, rows: Tensor) -> None:
        self.tables[name][self.step, self.ids] = whole(rows.detach()).double()

    def _drop(self, x: Tensor, y: Tensor) -> None:
        self._write("forward", y != 0)
        x.register_hook(lambda gradient: self._write("backward", gradient != 0))


def train(
    model: nn.Module,
    rng: thinnet.DropoutRNG,
    record: Record | None = None,
    parts: Callable[[Tensor], Iterable[Tensor]] = lambda ids: [ids],
    place: Callable[[Tensor], Tensor] = lambda x: x,
    scale: float = 1.0,
) -> None:
    """Trains for all steps, each batch in parts whose gradients add up."""
    x, y = data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for step in range(STEPS):
        for ids in parts(batch(step)):
            rng.at(step, ids)
            if record is not None:
                record.step, record.ids = step, ids
            loss = nn.functional.cross_entropy(whole(model(place(x[ids]))), y[ids], reduction="sum")
            (loss * scale / BATCH).backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(model: nn.Module) -> Tables:
    """The weights, whole on each rank."""
    return {name: whole(value.detach()).clone() for name, value in model.state_dict().items()}


def trained(parts: Callable[[Tensor], Iterable[Tensor]] = lambda ids: [ids]) -> tuple[Tables, Tables]:
    """The weights and the masks of one training in this process."""
    model = build()
    rng, record = thinnet.DropoutRNG(7).bind(model), Record(model)
    train(model, rng, record, parts)
    return weights(model), record.tables


def assert_same_training(one: tuple[Tables, Tables], other: tuple[Tables, Tables]) -> None:
    """The same masks bit by bit, and the same weights to rounding."""
    for name, table in one[1].items():
        assert torch.equal(table.isnan(), other[1][name].isnan()), name
        assert torch.equal(table.nan_to_num(-1), other[1][name].nan_to_num(-1)), name
    torch.testing.assert_close(other[0], one[0], rtol=1e-9, atol=1e-11)
