"""Darts: Monte-Carlo dropout that is silently off (issues 2097, 2300).

A flag switches on those dropout layers that are of the library's own class. A model that also uses `nn.Dropout`, or dropout
inside `nn.LSTM`, gives the same forecast in every draw, without a word. `thinnet.inference.sample` switches on what drops,
whatever its class, and says which masks have no address.
"""

import torch
from torch import Tensor, nn

import thinnet


class MonteCarloDropout(nn.Dropout):
    """The library's own class: on in eval mode where its flag is set."""

    on = False

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.p, training=self.on or self.training)


class Forecast(nn.Module):
    """A block that was taken from elsewhere, with the dropout of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, 32, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


def draws_of_the_library(model: nn.Module, x: Tensor, n: int) -> Tensor:
    for module in model.modules():
        if isinstance(module, MonteCarloDropout):
            module.on = True
    with torch.no_grad():
        return torch.stack([model(x) for _ in range(n)])


torch.manual_seed(0)
model, x = Forecast().eval(), torch.randn(8, 24, 1)
broken = draws_of_the_library(model, x, 20)
print(f"the spread of 20 forecasts is zero: {float(broken.std(0).max()) == 0}")
mended = thinnet.inference.sample(model, x, n=20, kind="values")
print(f"mended, every forecast has a spread: {bool((mended.std > 0).all())}")
print(
    f"dropout inside nn.LSTM has no address, and the notes say so: {not mended.addressed and 'lstm' in ' '.join(mended.notes)}"
)
print(f"the model is still in eval mode: {not model.training}")
