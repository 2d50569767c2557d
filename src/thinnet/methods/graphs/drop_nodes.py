"""Dropping nodes with their edges: a step of training sees the graph between the nodes that are kept, and no other.

    edges' = {(i, j) in edges : m[i] m[j] = 1},  m ~ Bernoulli(1 - p) for each node

An edge between two nodes is kept with probability (1 - p)^2, a self loop with 1 - p. You et al. 2020, "Graph contrastive
learning with augmentations", NeurIPS, arXiv:2010.13902, where it makes a second view of a graph.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.methods.graphs import edges
from thinnet.rng import NoiseKey, Site


class Nodes(NamedTuple):
    """The graph between the nodes that are kept.

    Args:
        edge_index: `(2, E')`, the edges whose two nodes are kept, in their order; nodes have the numbers that they had.
        edge_mask: `(E,)`, True where an edge is kept.
        node_mask: `(N,)`, True where a node is kept.
    """

    edge_index: Tensor
    edge_mask: Tensor
    node_mask: Tensor


def definition(edge_index: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the edges of which the coins u of both nodes are p at least."""
    return edge_index[:, (u >= p)[edge_index].all(0)]


FACTS = Facts(
    name="Node dropping",
    summary="Takes nodes, each by its own coin, out of a graph together with their edges; nothing is scaled.",
    equation="edges' = {(i, j) in edges : m[i] m[j] = 1},  m ~ Bernoulli(1 - p)",
    paper="You et al. 2020, arXiv:2010.13902",
    grain="node, with all its edges",
    place="once a step before degrees are counted, where a graph has nodes to spare; for views in contrastive learning",
    avoid="where every node has a label to learn from: a dropped node hears nothing; and small graphs",
    default="0.1 to 0.2",
    cost="a coin a node, and a copy of the kept edges; torch.compile breaks its graph here",
    elsewhere="torch_geometric.utils.dropout_node",
    expected_drop=lambda p: p,
    definition=definition,
    per_batch=True,
)


def _dropped(function: str, key: NoiseKey | None, edge_index: Tensor, num_nodes: int | None) -> Nodes:
    edges.check(function, edge_index)
    least = int(edge_index.max()) + 1 if edge_index.numel() else 0
    if num_nodes is not None and num_nodes < least:
        raise ValueError(f"{function}: num_nodes must be at least {least}, as an edge says; got {num_nodes}. Use len(x).")
    count = least if num_nodes is None else num_nodes
    if key is None:
        alive = torch.ones(count, dtype=torch.bool, device=edge_index.device)
        return Nodes(edge_index, torch.ones_like(edge_index[0], dtype=torch.bool), alive)
    alive = key.mask((count,))
    mask = alive[edge_index].all(0)
    return Nodes(edge_index[:, mask], mask, alive)


def drop_nodes(
    edge_index: Tensor,
    p: float | Tensor = 0.1,
    *,
    num_nodes: int | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Nodes:
    """Takes nodes out of a graph at random, together with their edges.

    edges' = {(i, j) in edges : m[i] m[j] = 1}, with m ~ Bernoulli(1 - p) for each node.

    Args:
        edge_index: `(2, E)`, nodes from and nodes to.
        p: fraction of nodes that are dropped, on average; honoured to 1/65536.
        num_nodes: N; one more than the highest number in an edge if left out.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: the kept `edge_index`, the mask `(E,)` of edges and the mask `(N,)` of nodes, a named tuple.

    Raises: ValueError where `p` is not in [0, 1], a shape is wrong, or there are more nodes than `num_nodes`.

    Source: You et al. 2020, arXiv:2010.13902.

    >>> ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    >>> kept, _, nodes = drop_nodes(ring, 0.5, training=True)
    >>> bool(nodes[kept].all())
    True
    """
    return _dropped("drop_nodes", draw_key("drop_nodes", edge_index, p, training, generator), edge_index, num_nodes)


class DropNodes(Site):
    """Takes nodes out of a graph at random in training, together with their edges; in eval all are kept.

    edges' = {(i, j) in edges : m[i] m[j] = 1}, with m ~ Bernoulli(1 - p) for each node.

    A graph, or a batch of them in one edge list, is one case: the name of a coin is the number of its node.

    Args:
        p: fraction of nodes that are dropped, on average; honoured to 1/65536.

    Shapes: `(2, E)`; `Nodes` with E' edges.

    Raises: ValueError where `p` is not in [0, 1], a shape is wrong, or there are more nodes than `num_nodes`.

    Source: You et al. 2020, arXiv:2010.13902.

    >>> DropNodes(0.1).eval()(torch.tensor([[0, 1], [1, 2]]), num_nodes=4).node_mask
    tensor([True, True, True, True])
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, edge_index: Tensor, num_nodes: int | None = None) -> Nodes:  # type: ignore[override]
        """Returns the kept edges, and the masks of all edges and nodes."""
        return _dropped(type(self).__name__, self.key(edge_index, batch=None), edge_index, num_nodes)

    def extra_repr(self) -> str:
        """Returns the rate."""
        return f"p={self.p}"


METHODS = (Method(FACTS, DropNodes, drop_nodes),)
