"""Recurrent networks need dropout, with one mask for all time steps."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thinnet.nn import Dropout, LockedDropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import trained
from thinnet.reproductions.pictures import Pictures
from thinnet.study.networks.text import CHARACTERS, sequences

HELPS = "test loss, a mask each time step minus none, nats"
LOCKED = "test loss, one mask minus a mask each time step, nats"
WIDTH, RATE, TRAIN = 96, 0.3, 200


class Network(nn.Module):
    """An LSTM language model with dropout before and after the LSTM."""

    def __init__(self, before: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(CHARACTERS, WIDTH), nn.Linear(WIDTH, CHARACTERS)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.before(self.embedding(x)))
        return self.head(self.after(hidden))


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains on half of the sequences of a text, and tests on the other half."""
    x, y = sequences()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    rows, others = order[:TRAIN], order[TRAIN:]

    def loss(site: type[nn.Module] | None, **settings: bool) -> float:
        def network() -> Network:
            return Network(*(site(RATE, **settings) if site else nn.Identity() for _ in range(2)))

        model = trained(network, x[rows], y[rows], seed, 60, batch=20, learning_rate=1e-2, loss=_loss)
        with torch.no_grad():
            return float(_loss(model(x[others]), y[others]))

    none, each, locked = loss(None), loss(Dropout), loss(LockedDropout, batch_first=True)
    return {HELPS: each - none, LOCKED: locked - each}


def _loss(output: Tensor, target: Tensor) -> Tensor:
    return cross_entropy(output.flatten(0, 1), target.flatten())


CLAIM = Claim(
    name="recurrent",
    source="Zaremba et al. 2014, arXiv:1409.2329; Gal and Ghahramani 2016, arXiv:1512.05287",
    says="Dropout of non-recurrent connections helps an LSTM, and the same mask for all time steps helps more.",
    task="A character model of one LSTM of 96 units on 200 sequences of CPython's documentation, p = 0.3, 60 epochs.",
    parts=(Part(HELPS, high=0.0), Part(LOCKED, high=0.0)),
    measure=measure,
)
