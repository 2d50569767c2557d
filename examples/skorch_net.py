"""skorch: ids are one more column of X, and a callback gives them to the rng; a pause changes nothing."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from torch import nn

import thinnet
from thinnet.integrations.skorch import DropoutRNGCallback
from thinnet.rng.sample_ids import KEY

digits = load_digits()
X = {"x": (digits.data / 16).astype(np.float32), KEY: np.arange(len(digits.data))}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 50), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(50, 10), nn.Softmax(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def train(*epochs: int) -> tuple[NeuralNetClassifier, thinnet.DropoutRNG]:
    torch.manual_seed(0)
    rng = thinnet.DropoutRNG(seed=0)
    callbacks = [("rng", DropoutRNGCallback(rng))]
    net = NeuralNetClassifier(Network, lr=0.5, callbacks=callbacks, verbose=0, train_split=None)
    for count in epochs:
        torch.rand(7)  # whatever else draws from torch's generator does not matter
        net.partial_fit(X, digits.target, epochs=count)
    return net, rng


once, rng = train(4)
twice, _ = train(1, 3)
same = all(torch.equal(a, b) for a, b in zip(once.module_.parameters(), twice.module_.parameters(), strict=True))
print(f"step {rng.step}, accuracy {np.mean(once.predict(X) == digits.target):.3f}")
print(f"weights equal after a pause: {same}")
print(f"the last of 60 steps is equal to the step of the masks: {rng.step == 59}")
