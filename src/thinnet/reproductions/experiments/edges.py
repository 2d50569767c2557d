"""Dropping edges helps deep graph networks."""

from itertools import pairwise

import torch
from sklearn.neighbors import kneighbors_graph
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from thinnet.nn import DropEdge
from thinnet.reproductions.claim import Claim, Part
from thinnet.reproductions.networks import built, set_learning_rate, wrong
from thinnet.reproductions.pictures import Pictures
from thinnet.rng import DropoutRNG
from thinnet.study.training.epoch import adam

DEEP = "test error with 8 layers, DropEdge minus none, points"
NODES, LABELS, WIDTH, LAYERS, RATE, STEPS = 1000, 100, 64, 8, 0.5, 400
LEARNING_RATE = 5e-3


class Network(nn.Module):
    """A graph convolutional network."""

    def __init__(self, features: int, classes: int, rate: float) -> None:
        super().__init__()
        widths = (features, *[WIDTH] * (LAYERS - 1), classes)
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.edges = DropEdge(rate, force_undirected=True)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        graph = _normalised(self.edges(edge_index)[0], len(x))
        for number, layer in enumerate(self.layers, start=1):
            x = graph @ layer(x)
            x = x.relu() if number < LAYERS else x
        return x


def measure(seed: int, pictures: Pictures) -> dict[str, float]:
    """Classifies pictures in the graph of their nearest neighbours from 100 labels, with half of the edges and with all."""
    data = pictures.split(seed, NODES, test=0).flat()
    near = kneighbors_graph(data.x.numpy(), 10).tocoo()
    pairs = torch.tensor([[*near.row, *near.col], [*near.col, *near.row]]).unique(dim=1)
    none, dropped = (_error(data.x, data.y, pairs, rate, seed) for rate in (0.0, RATE))
    return {DEEP: dropped - none}


def _error(x: Tensor, y: Tensor, pairs: Tensor, rate: float, seed: int) -> float:
    model = built(seed, lambda: Network(x.shape[1], int(y.max()) + 1, rate))
    optimizer, rng = adam(model, LEARNING_RATE), DropoutRNG(seed).bind(model)
    for step in range(STEPS):
        rng.at(step)
        set_learning_rate(optimizer, LEARNING_RATE * (1 - step / STEPS))
        optimizer.zero_grad()
        cross_entropy(model(x, pairs)[:LABELS], y[:LABELS]).backward()
        optimizer.step()
    with torch.no_grad():
        return wrong(model.eval()(x, pairs)[LABELS:], y[LABELS:])


def _normalised(pairs: Tensor, nodes: int) -> Tensor:
    """Returns the adjacency matrix with self loops, divided by the roots of both degrees."""
    loops = torch.arange(nodes).expand(2, -1)
    pairs = torch.cat([pairs, loops], dim=1)
    roots = torch.bincount(pairs[0], minlength=nodes).float().rsqrt()
    return torch.sparse_coo_tensor(pairs, roots[pairs[0]] * roots[pairs[1]], (nodes, nodes), check_invariants=False).coalesce()


CLAIM = Claim(
    name="edges",
    source="Rong, Huang, Xu and Huang 2020, arXiv:1907.10903",
    says="Dropping edges in training improves deep graph convolutional networks.",
    task="8 graph convolutions on the 10 nearest neighbours of 1,000 pictures, 100 labels, p = 0.5, 400 steps.",
    parts=(Part(DEEP, high=0.0),),
    measure=measure,
)
