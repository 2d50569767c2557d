"""DropWalks: drops the edges of random walks on a graph."""

import torch
from torch import Tensor

from thinnet.methods import spans
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.graphs import edges
from thinnet.methods.graphs.drop_edge import Edges
from thinnet.rng import NoiseKey, Site
from thinnet.rng.site import recorded


def checked(function: str, walk_length: object) -> int:
    """Returns the number of edges of a walk, or raises a ValueError."""
    if type(walk_length) is not int or walk_length < 1:
        raise ValueError(f"{function}: walk_length must be a positive integer; got {walk_length!r}. It counts edges. Try 3.")
    return walk_length


def definition(edge_index: Tensor, u: Tensor, p: float, walk_length: int = 3) -> Tensor:
    """Returns the edges that no walk takes: walk e starts at the source of edge e if u[e, 0] < p; u[e, 1:] choose its edges."""
    sources, targets = edge_index.tolist()
    leaving: dict[int, list[int]] = {}
    for edge, source in enumerate(sources):
        leaving.setdefault(source, []).append(edge)
    taken = set()
    for start, (begin, *steps) in zip(sources, u.tolist(), strict=True):
        node = start
        for step in steps[:walk_length] if begin < p else ():
            if node not in leaving:
                break
            edge = leaving[node][int(step * len(leaving[node]))]
            taken.add(edge)
            node = targets[edge]
    return edge_index[:, [edge for edge in range(len(sources)) if edge not in taken]]


FACTS = Facts(
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, walk_length=3, **_: (shape[1], 1 + walk_length),
    independent=False,
    per_batch=True,
    used_by=(Use("PyTorch Geometric", "torch_geometric.utils.dropout_path(edge_index, p, walk_length=3)"),),
)


def _walked(key: NoiseKey, edge_index: Tensor, walk_length: int) -> Tensor:
    """Returns which edges some walk takes, `(E,)`."""
    count = edge_index.shape[1]
    taken = torch.zeros(count, dtype=torch.bool, device=edge_index.device)
    if not count:
        return taken
    source, target = edge_index
    order = source.argsort(stable=True)
    degree = torch.bincount(source, minlength=int(edge_index.max()) + 1)
    first = degree.cumsum(0) - degree
    u = key.uniform((count, 1 + walk_length))
    begin = u[:, 0] < key.p
    node, u = source[begin], u[begin, 1:]
    for step in u.unbind(1):
        goes_on = degree[node] > 0
        edge = order[(first[node] + spans.start(step, degree[node])).clamp(max=count - 1)]
        taken[edge[goes_on]] = True
        node = torch.where(goes_on, target[edge], node)
    return taken


def _drop(
    function: str, key: NoiseKey | None, edge_index: Tensor, edge_weight: Tensor | None, walk_length: int, undirected: bool
) -> Edges:
    edges.check(function, edge_index)
    if edge_weight is not None and len(edge_weight) != edge_index.shape[1]:
        rule = f"must have one row for each of the {edge_index.shape[1]} edges"
        raise ValueError(f"{function}: edge_weight {rule}; got {len(edge_weight)}. Its axis 0 counts edges.")
    if key is None:
        return Edges(edge_index, edge_weight, torch.ones_like(edge_index[0], dtype=torch.bool))
    taken = _walked(key, edge_index, walk_length)
    if undirected:
        pairs, which = edges.pairs(edge_index)
        taken = torch.zeros(pairs, dtype=torch.bool, device=taken.device).index_put((which[taken],), taken.new_ones(()))[which]
    return Edges(edge_index[:, ~taken], None if edge_weight is None else edge_weight[~taken], ~taken)


def drop_walks(
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    p: float | Tensor = 0.2,
    *,
    walk_length: int = 3,
    force_undirected: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Edges:
    """Functional form of `DropWalks`.

    Args:
        edge_index: `(2, E)`, nodes from and nodes to.
        edge_weight: `(E, ...)`, weights or attributes of the edges, or None.
        training: whether to drop; all edges are kept if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: the kept `edge_index`, `edge_weight` and the mask `(E,)` of all edges, a named tuple.

    >>> path = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    >>> drop_walks(path, p=1.0, training=True).edge_index.shape
    torch.Size([2, 0])
    """
    if not isinstance(edge_index, Tensor):
        return no_tensor(drop_walks, locals())
    walk_length = checked("drop_walks", walk_length)
    key = draw_key("drop_walks", edge_index, p, training, generator)
    return _drop("drop_walks", key, edge_index, edge_weight, walk_length, force_undirected)


class DropWalks(Site):
    """Drops the edges of random walks, so that whole paths are absent and not single edges of them.

        edges' = edges that no walk takes;  with probability p, a walk of walk_length edges starts at the source of an edge

    At each node the next edge is uniform among those that leave it; a walk ends where none does. With walk_length 1, an edge is
    dropped with probability 1 - (1 - p/d)^d, for d edges that leave its source; with more it grows, and depends on the graph.
    Nothing is scaled. A graph, or a batch of graphs in one edge list, is one sample. In eval all edges stay.

    Noise shape: 1 + walk_length numbers per edge.
    Use when: as the mask of a graph autoencoder that predicts the dropped edges: neighbours of an edge do not reveal it.
    Avoid when: a certain share of edges must be dropped, where DropEdge fits.
    Start with: p = 0.2 and walk_length 3; force_undirected on undirected graphs.
    Cost: a sort of the edges, and walk_length passes over the walks. The number of kept edges is known only at run time.
    Other implementations: torch_geometric.utils.dropout_path needs pyg-lib, and drops one direction of an undirected edge.

    Args:
        p: probability that a walk starts at the source of an edge, rounded to 1/65536.
        walk_length: edges of a walk.
        force_undirected: whether all edges between two nodes, in both directions, are dropped together.

    Shapes: `(2, E)` and weights `(E, ...)` or None, to `Edges` with E' kept edges.

    Raises: ValueError if `p` is not in [0, 1], `walk_length` is no positive integer, or a shape is wrong.

    Source: Li, Wu, Sun, Chen, Tian, Zhu, Meng, Zheng, Wang 2023, "What's behind the mask", KDD, arXiv:2205.10053.

    >>> edge_index, edge_weight, mask = DropWalks(0.3).eval()(torch.tensor([[0, 1], [1, 0]]))
    >>> mask
    tensor([True, True])
    """

    def __init__(self, p: float = 0.2, walk_length: int = 3, force_undirected: bool = False) -> None:
        super().__init__(p)
        self.walk_length, self.force_undirected = checked("DropWalks", walk_length), force_undirected

    def forward(self, edge_index: Tensor, edge_weight: Tensor | None = None) -> Edges:  # type: ignore[override]
        """Returns the kept edges, their weights, and the mask of all edges."""
        if not isinstance(edge_index, Tensor):
            return recorded(self, edge_index, edge_weight)
        key = self.key(edge_index, batch=None)
        return _drop("DropWalks", key, edge_index, edge_weight, self.walk_length, self.force_undirected)

    def extra_repr(self) -> str:
        return f"p={self.p}, walk_length={self.walk_length}, force_undirected={self.force_undirected}"


METHODS = (Method(FACTS, DropWalks, drop_walks),)
