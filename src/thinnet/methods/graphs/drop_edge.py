"""DropEdge: drops edges of a graph."""

from typing import NamedTuple

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.graphs import edges
from thinnet.methods.numbers import part_of, wide
from thinnet.rng import NoiseKey, Site
from thinnet.rng.site import recorded


class Edges(NamedTuple):
    """The kept edges of a graph.

    Args:
        edge_index: `(2, E')`, the kept edges in their order.
        edge_weight: `(E', ...)`, their weights; None if there are none.
        mask: `(E,)`, True where an edge of the whole graph is kept: `edge_attr[mask]` are the attributes.
    """

    edge_index: Tensor
    edge_weight: Tensor | None
    mask: Tensor


def definition(edge_index: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the edges with u >= p."""
    return edge_index[:, u >= p]


FACTS = Facts(
    expected_drop=lambda p: p,
    definition=definition,
    per_batch=True,
    used_by=(Use("PyTorch Geometric", "torch_geometric.utils.dropout_edge(edge_index, p)"),),
)


def _drop(
    key: NoiseKey, edge_index: Tensor, weight: Tensor | None, rescale: bool, undirected: bool, exact: float | None
) -> Edges:
    """Returns the kept edges; with `exact`, the keep probability, it fixes their number."""
    units, which = edges.pairs(edge_index) if undirected else (edge_index.shape[1], None)
    scale: float | Tensor
    if exact is None:
        kept, scale = key.mask((units,)), key.scale
    else:
        keep = part_of(units, exact)
        kept, scale = key.uniform((units,)).argsort(stable=True).argsort() < keep, units / max(1, keep)
    mask = kept if which is None else kept[which]
    weight = None if weight is None else weight[mask]
    if rescale and weight is not None:
        weight = (weight.to(wide(weight)) * scale).to(weight.dtype)
    return Edges(edge_index[:, mask], weight, mask)


def _dropped(
    function: str,
    key: NoiseKey | None,
    edge_index: Tensor,
    edge_weight: Tensor | None,
    rescale: bool,
    force_undirected: bool,
    exact: float | None,
) -> Edges:
    edges.check(function, edge_index)
    if edge_weight is None and rescale:
        edge_weight = torch.ones(edge_index.shape[1], device=edge_index.device)
    if edge_weight is not None and len(edge_weight) != edge_index.shape[1]:
        rule = f"must have one row for each of the {edge_index.shape[1]} edges"
        raise ValueError(f"{function}: edge_weight {rule}; got {len(edge_weight)}. Its axis 0 counts edges.")
    if key is None:
        return Edges(edge_index, edge_weight, torch.ones_like(edge_index[0], dtype=torch.bool))
    return _drop(key, edge_index, edge_weight, rescale, force_undirected, exact)


def drop_edge(
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    p: float | Tensor = 0.5,
    *,
    rescale: bool = False,
    force_undirected: bool = False,
    exact_count: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Edges:
    """Functional form of `DropEdge`.

    Args:
        edge_index: `(2, E)`, nodes from and nodes to. A self loop is an edge like others: add self loops later to keep them.
        edge_weight: `(E, ...)`, weights or attributes of the edges, or None.
        training: whether to drop; all edges are kept if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: the kept `edge_index`, `edge_weight` and the mask `(E,)` of all edges, a named tuple.

    >>> ring = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    >>> kept, weight, mask = drop_edge(ring, p=0.5, exact_count=True, rescale=True, training=True)
    >>> kept.shape, weight, int(mask.sum())
    (torch.Size([2, 2]), tensor([2., 2.]), 2)
    """
    if not isinstance(edge_index, Tensor):
        return no_tensor(drop_edge, locals())
    key = draw_key("drop_edge", edge_index, p, training, generator)
    exact = 1 - float(p) if exact_count else None
    return _dropped("drop_edge", key, edge_index, edge_weight, rescale, force_undirected, exact)


class DropEdge(Site):
    """Drops edges of a graph; the layer then normalises the kept edges as if they were all.

        edges' = {e in edges : m[e] = 1},  m ~ Bernoulli(1 - p), or int((1 - p) E) random edges

    Nothing is scaled unless requested. A graph, or a batch of graphs in one edge list, is one sample. The unit of a mask's
    address is the number of the edge, or with `force_undirected` that of the node pair in sorted order. In eval all edges stay.

    Noise shape: one decision per edge, or per node pair with `force_undirected`.
    Use when: once per step, before self loops are added and degrees counted, in deep graph networks that over-smooth.
    Avoid when: edges are already normalised and `rescale` is off: what a node receives then shrinks by 1 - p in training only.
    Start with: p from 0.2 to 0.5, and dropout of 0.5 on features.
    Cost: a random decision per edge and a copy of the kept ones; later layers do less work. The number of kept edges is known
        only at run time, so torch.compile breaks its graph here; Dropout on edge weights does not.
    Other implementations: torch_geometric.utils.dropout_edge has no fixed count and no rescaling, doubles self loops with
        force_undirected, and returns edge numbers in training but a mask in eval.

    Args:
        p: probability that an edge is dropped, rounded to 1/65536.
        rescale: whether kept weights (ones if there are none) are divided by the keep probability, so that a sum over
            neighbours has the same mean. Leave it False if degrees are counted later.
        force_undirected: whether all edges between two nodes, in both directions, share one random decision.
        exact_count: whether exactly int((1 - p) E) edges are kept, drawn without replacement as in the paper. With
            `force_undirected` it counts node pairs.

    Shapes: `(2, E)` and weights `(E, ...)` or None, to `Edges` with E' kept edges.

    Raises: ValueError if `p` is not in [0, 1], or a shape is wrong.

    Source: Rong, Huang, Xu, Huang 2020, "DropEdge", ICLR, arXiv:1907.10903.

    >>> edge_index, edge_weight, mask = DropEdge(0.3).eval()(torch.tensor([[0, 1], [1, 0]]))
    >>> mask
    tensor([True, True])
    """

    def __init__(
        self,
        p: float = 0.5,
        rescale: bool = False,
        force_undirected: bool = False,
        exact_count: bool = False,
    ) -> None:
        super().__init__(p)
        self.rescale, self.force_undirected, self.exact_count = rescale, force_undirected, exact_count

    def forward(self, edge_index: Tensor, edge_weight: Tensor | None = None) -> Edges:  # type: ignore[override]
        """Returns the kept edges, their weights, and the mask of all edges."""
        if not isinstance(edge_index, Tensor):
            return recorded(self, edge_index, edge_weight)
        key = self.key(edge_index, batch=None)
        exact = 1 - (self.p or 0.0) if self.exact_count else None
        return _dropped(type(self).__name__, key, edge_index, edge_weight, self.rescale, self.force_undirected, exact)

    def extra_repr(self) -> str:
        settings = f"rescale={self.rescale}, force_undirected={self.force_undirected}, exact_count={self.exact_count}"
        return f"p={self.p}, {settings}"


METHODS = (Method(FACTS, DropEdge, drop_edge),)
