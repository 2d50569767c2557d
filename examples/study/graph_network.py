"""A PyG network, for `thinnet study examples/study/graph_network.py`: the samples are the nodes of one graph."""

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch import nn
from torch_geometric.nn import GCNConv

epochs, batch, learning_rate = 60, 512, 1e-2
PIXELS, DIGITS = load_digits(return_X_y=True)
NEIGHBOURS = kneighbors_graph(PIXELS, 5).tocoo()


class Network(nn.Module):
    """Takes the numbers of nodes, runs on the whole graph, and returns the outputs of these nodes."""

    def __init__(self) -> None:
        super().__init__()
        edges = np.stack([NEIGHBOURS.row, NEIGHBOURS.col])
        self.register_buffer("x", torch.tensor(PIXELS / 16, dtype=torch.float32), persistent=False)
        self.register_buffer("edges", torch.tensor(edges, dtype=torch.long), persistent=False)
        self.first, self.second, self.drop = GCNConv(64, 32), GCNConv(32, 10), nn.Dropout()

    def forward(self, nodes: torch.Tensor) -> torch.Tensor:
        hidden = self.drop(self.first(self.x, self.edges).relu())
        return self.second(hidden, self.edges)[nodes]


def model() -> nn.Module:
    return Network()


def data():
    return np.arange(len(DIGITS)), DIGITS
