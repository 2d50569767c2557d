"""A recurrent language model on CPython's documentation: one mask for all time steps, before and after the LSTM.

Further sites draw a new mask in each step, for `--places 'locked_*,each_step_*'`.
"""

from torch import Tensor, nn

from thinnet.nn import Dropout, LockedDropout
from thinnet.study.networks.text import CHARACTERS, sequences

epochs, batch, learning_rate = 50, 32, 1e-2
rates = (0.0, 0.1, 0.2, 0.3, 0.5)
places = "locked_*"
data = sequences


class Network(nn.Module):
    """Takes characters (N, T); returns logits (N, T, characters)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(CHARACTERS, width), nn.Linear(width, CHARACTERS)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.locked_before, self.locked_after = LockedDropout(batch_first=True), LockedDropout(batch_first=True)
        self.each_step_before, self.each_step_after = Dropout(), Dropout()

    def forward(self, x: Tensor) -> Tensor:
        hidden, _ = self.lstm(self.each_step_before(self.locked_before(self.embedding(x))))
        return self.head(self.each_step_after(self.locked_after(hidden)))


def model(width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network(round(width * 96))
