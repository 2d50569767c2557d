"""Dropout of the inputs of a linear regression is ridge regression."""

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, epochs
from thinnet.reproductions.pictures import Pictures

RIDGE = "distance from the ridge solution, divided by that from least squares"
RATE, NUMBER, LAST = 0.3, 1500, 1000


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains a linear layer behind dropout by whole batches, and averages its weights over the last 1,000 steps."""
    x, y = _diabetes(seed)
    model = built(seed, lambda: nn.Sequential(Dropout(RATE), nn.Linear(x.shape[1], 1, bias=False)))
    total = torch.zeros(x.shape[1])
    for epoch, _ in enumerate(epochs(model, x, y[:, None], seed, NUMBER, batch=len(x), learning_rate=0.02, loss=mse_loss)):
        if epoch >= NUMBER - LAST:
            total += next(model.parameters()).detach()[0]
    gram = x.T @ x
    least = torch.linalg.solve(gram, x.T @ y)
    ridge = torch.linalg.solve(gram + RATE / (1 - RATE) * gram.diag().diag(), x.T @ y)
    weights = total / LAST
    return {RIDGE: float((weights - ridge).norm() / (weights - least).norm())}


def _diabetes(seed: int) -> tuple[Tensor, Tensor]:
    """Returns a bootstrap sample, with standardised columns."""
    data = load_diabetes(scaled=False)
    rows = torch.randint(len(data.target), (len(data.target),), generator=torch.Generator().manual_seed(seed))  # pyright: ignore
    x, y = (torch.from_numpy(part)[rows].float() for part in (data.data, data.target))  # pyright: ignore
    return (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()


CLAIM = Claim(
    name="ridge",
    source="Srivastava et al. 2014, JMLR 15:1929, section 9.1; Wager, Wang and Liang 2013, arXiv:1307.1493",
    says="Linear regression with dropout of its inputs is, in expectation, ridge regression with a penalty for each column.",
    task="The diabetes table, p = 0.3, 1,500 steps.",
    parts=(Part(RIDGE, high=0.2),),
    measure=measure,
)
