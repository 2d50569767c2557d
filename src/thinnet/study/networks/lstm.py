"""A recurrent language model on CPython's documentation: one mask for all time steps, before and after the LSTM."""

from torch import Tensor, nn

from thinnet.nn import LockedDropout
from thinnet.study.networks.text import CHARACTERS, sequences

epochs, batch, learning_rate = 50, 32, 1e-2
rates = (0.0, 0.1, 0.2, 0.3, 0.5)
data = sequences


class Network(nn.Module):
    """Takes characters (N, T); returns logits (N, T, characters)."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(CHARACTERS, width), nn.Linear(width, CHARACTERS)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.before, self.after = LockedDropout(batch_first=True), LockedDropout(batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.before(self.embedding(x)))
        return self.head(self.after(hidden))


def model() -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network()
