"""A training step of a recurrent layer, forward and backward, with every noise of ours and without: PyTorch's LSTM and GRU."""

from collections.abc import Callable

import torch
from torch import nn

from benchmarks.measure import interleaved
from thinnet.methods.recurrent.recurrent_dropout import RecurrentDropoutGRU, RecurrentDropoutLSTM
from thinnet.methods.recurrent.rnn_drop import RNNDropLSTM
from thinnet.methods.recurrent.variational import VariationalGRU, VariationalLSTM
from thinnet.methods.recurrent.zoneout import ZoneoutGRU, ZoneoutLSTM

STEPS, SIZE = 100, 256
BATCHES = {32: 15, 64: 9}
LSTMS: dict[str, Callable[[], nn.Module]] = {
    "nn.LSTM": lambda: nn.LSTM(SIZE, SIZE),
    "VariationalLSTM": lambda: VariationalLSTM(SIZE, SIZE),
    "VariationalLSTM, untied": lambda: VariationalLSTM(SIZE, SIZE, tied=False),
    "RecurrentDropoutLSTM": lambda: RecurrentDropoutLSTM(SIZE, SIZE),
    "RNNDropLSTM": lambda: RNNDropLSTM(SIZE, SIZE),
    "ZoneoutLSTM": lambda: ZoneoutLSTM(SIZE, SIZE),
}
GRUS: dict[str, Callable[[], nn.Module]] = {
    "nn.GRU": lambda: nn.GRU(SIZE, SIZE),
    "VariationalGRU": lambda: VariationalGRU(SIZE, SIZE),
    "VariationalGRU, untied": lambda: VariationalGRU(SIZE, SIZE, tied=False),
    "RecurrentDropoutGRU": lambda: RecurrentDropoutGRU(SIZE, SIZE),
    "ZoneoutGRU": lambda: ZoneoutGRU(SIZE, SIZE),
}


def step(make: Callable[[], nn.Module], batch: int) -> Callable[[], object]:
    """Returns a forward and a backward pass that fill the gradients of the weights and of the input."""
    layer, x = make(), torch.randn(STEPS, batch, SIZE, requires_grad=True)
    weight = torch.randn(STEPS, batch, SIZE)

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(weight)

    return run


def rows() -> list[dict[str, object]]:
    """Returns one row a batch size and kind of layer, with the median milliseconds of every candidate."""
    found: list[dict[str, object]] = []
    for batch, rounds in BATCHES.items():
        for layers in (LSTMS, GRUS):
            times = interleaved({name: step(make, batch) for name, make in layers.items()}, rounds)
            found.append({"batch": batch, "milliseconds": {name: round(value * 1e3, 2) for name, value in times.items()}})
    return found
