"""Variational dropout prunes most weights at almost no cost."""

import torch
from torch.nn.functional import cross_entropy

import thinnet
from thinnet.nn import SparseVariationalDropout
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, classifier, error, trained
from thinnet.reproductions.pictures import Pictures

PRUNED, ERROR = "share of weights that are pruned", "test error, pruned minus without noise, points"
NUMBER, WARM = 200, 100


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Trains with learned noise of each weight; the penalty grows to its full strength in the first 100 epochs."""
    data = pictures.split(seed, 900).flat()
    network = classifier(data, (128,), None)
    plain, sparse = trained(network, data.x, data.y, seed, NUMBER), built(seed, network)
    assert isinstance(sparse, torch.nn.Sequential)
    noisy = {n: SparseVariationalDropout(layer) for n, layer in enumerate(sparse) if isinstance(layer, torch.nn.Linear)}
    for number, layer in noisy.items():
        sparse[number] = layer
    _train(sparse, data.x, data.y, seed)
    test = data.x_test, data.y_test
    zeros = torch.cat([layer.prune().get_parameter("weight").eq(0).flatten() for layer in noisy.values()])
    pruned = float(zeros.float().mean())
    return {PRUNED: pruned, ERROR: error(sparse, *test) - error(plain, *test)}


def _train(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, seed: int) -> None:
    shuffle, rng = torch.Generator().manual_seed(seed), thinnet.DropoutRNG(seed).bind(model)
    optimizer, step = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True), 0
    for epoch in range(NUMBER):
        for rows in torch.randperm(len(x), generator=shuffle).split(64):
            rng.at(step, samples=rows)
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            (loss + min(1.0, epoch / WARM) * thinnet.penalty(model, samples=len(x))).backward()
            optimizer.step()
            step += 1
    rng.unbind()


CLAIM = Claim(
    name="sparse-weights",
    source="Molchanov, Ashukha and Vetrov 2017, arXiv:1701.05369",
    says="Sparse variational dropout removes most of the weights with almost no loss of accuracy.",
    task="A perceptron of 128 units on 900 pictures, 200 epochs. Most means 80 %, and almost no loss at most one point.",
    parts=(Part(PRUNED, low=0.8), Part(ERROR, high=1.0)),
    measure=measure,
)
