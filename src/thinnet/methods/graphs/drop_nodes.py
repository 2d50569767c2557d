"""Node dropping: removes nodes of a graph together with their edges."""

from typing import NamedTuple

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.graphs import edges
from thinnet.rng import NoiseKey, Site
from thinnet.rng.site import recorded


class Nodes(NamedTuple):
    """The subgraph of the kept nodes.

    Args:
        edge_index: `(2, E')`, the edges between kept nodes in their order; nodes keep their numbers.
        edge_mask: `(E,)`, True where an edge is kept.
        node_mask: `(N,)`, True where a node is kept.
    """

    edge_index: Tensor
    edge_mask: Tensor
    node_mask: Tensor


def definition(edge_index: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the edges whose nodes both have u >= p."""
    return edge_index[:, (u >= p)[edge_index].all(0)]


FACTS = Facts(
    expected_drop=lambda p: p,
    definition=definition,
    per_batch=True,
    used_by=(Use("PyTorch Geometric", "torch_geometric.utils.dropout_node(edge_index, p)"),),
)


def _dropped(function: str, key: NoiseKey | None, edge_index: Tensor, num_nodes: int | None) -> Nodes:
    edges.check(function, edge_index)
    least = int(edge_index.max()) + 1 if edge_index.numel() else 0
    if num_nodes is not None and num_nodes < least:
        raise ValueError(f"{function}: num_nodes must be at least {least} for these edges; got {num_nodes}. Use len(x).")
    count = least if num_nodes is None else num_nodes
    if key is None:
        alive = torch.ones(count, dtype=torch.bool, device=edge_index.device)
        return Nodes(edge_index, torch.ones_like(edge_index[0], dtype=torch.bool), alive)
    alive = key.mask((count,))
    mask = alive[edge_index.long()].all(0)
    return Nodes(edge_index[:, mask], mask, alive)


def drop_nodes(
    edge_index: Tensor,
    p: float | Tensor = 0.1,
    *,
    num_nodes: int | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Nodes:
    """Functional form of `DropNodes`.

    Args:
        edge_index: `(2, E)`, nodes from and nodes to.
        num_nodes: N; one more than the highest number in an edge if None.
        training: whether to drop; all nodes are kept if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: the kept `edge_index`, the mask `(E,)` of edges and the mask `(N,)` of nodes, a named tuple.

    >>> ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    >>> kept, _, nodes = drop_nodes(ring, 0.5, training=True)
    >>> bool(nodes[kept].all())
    True
    """
    if not isinstance(edge_index, Tensor):
        return no_tensor(drop_nodes, locals())
    return _dropped("drop_nodes", draw_key("drop_nodes", edge_index, p, training, generator), edge_index, num_nodes)


class DropNodes(Site):
    """Removes nodes of a graph together with their edges; nothing is scaled.

        edges' = {(i, j) in edges : m[i] m[j] = 1},  m ~ Bernoulli(1 - p) for each node

    An edge between two nodes stays with probability (1 - p)^2, a self loop with 1 - p. A graph, or a batch of graphs in one
    edge list, is one sample: the unit of a mask's address is the number of its node. In eval all nodes stay.

    Noise shape: one decision per node, with all its edges.
    Use when: once per step before degrees are counted, in graphs with redundant nodes; for views in contrastive learning.
    Avoid when: every node has a label, because a dropped node receives no messages; or on small graphs.
    Start with: p from 0.1 to 0.2.
    Cost: a random decision per node, and a copy of the kept edges; torch.compile breaks its graph here.
    Other implementations: torch_geometric.utils.dropout_node.

    Args:
        p: probability that a node is dropped, rounded to 1/65536.

    Shapes: `(2, E)` to `Nodes` with E' kept edges.

    Raises: ValueError if `p` is not in [0, 1], a shape is wrong, or an edge has a node number of `num_nodes` or more.

    Source: You et al. 2020, "Graph contrastive learning with augmentations", NeurIPS, arXiv:2010.13902: a second view of a
        graph.

    >>> DropNodes(0.1).eval()(torch.tensor([[0, 1], [1, 2]]), num_nodes=4).node_mask
    tensor([True, True, True, True])
    """

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, edge_index: Tensor, num_nodes: int | None = None) -> Nodes:  # type: ignore[override]
        """Returns the kept edges, and the masks of all edges and nodes."""
        if not isinstance(edge_index, Tensor):
            return recorded(self, edge_index, num_nodes)
        return _dropped(type(self).__name__, self.key(edge_index, batch=None), edge_index, num_nodes)

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, DropNodes, drop_nodes, title="Node dropping"),)
