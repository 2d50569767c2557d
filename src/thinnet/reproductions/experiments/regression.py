"""The Monte-Carlo mean predicts numbers better than one deterministic pass."""

import torch
from sklearn.datasets import load_diabetes
from torch.nn.functional import mse_loss

from thinnet.inference import sample
from thinnet.nn import Dropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import perceptron, trained
from thinnet.reproductions.pictures import Pictures

RMSE = "test RMSE, 200 draws minus one deterministic pass, standard deviations"
TRAIN = 350


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains a regression at p = 0.1, and compares the two predictions."""
    data = load_diabetes(scaled=False)
    x, y = (torch.from_numpy(part).float() for part in (data.data, data.target))  # pyright: ignore
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    rows, others = order[:TRAIN], order[TRAIN:]
    x = (x - x[rows].mean(0)) / x[rows].std(0)
    y = ((y - y[rows].mean()) / y[rows].std())[:, None]
    model = trained(lambda: perceptron(x.shape[1], (50,), 1, lambda: Dropout(0.1)), x[rows], y[rows], seed, 100, loss=mse_loss)
    drawn = sample(model, x[others], n=200, seed=seed, kind="values", progress=False).mean
    with torch.no_grad():
        once = model(x[others])
    return {RMSE: float(mse_loss(drawn, y[others]).sqrt() - mse_loss(once, y[others]).sqrt())}


CLAIM = Claim(
    name="regression",
    source="Gal and Ghahramani 2016, arXiv:1506.02142, table 1",
    says="The mean of Monte-Carlo dropout predicts better than the deterministic pass of the same network.",
    task="The diabetes table, a perceptron of 50 units, p = 0.1, 100 epochs.",
    parts=(Part(RMSE, high=0.0),),
    measure=measure,
)
