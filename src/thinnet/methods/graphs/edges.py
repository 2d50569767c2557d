"""Edge lists: two rows of node numbers, from and to, as in PyTorch Geometric."""

import torch
from torch import Tensor


def check(function: str, edge_index: Tensor) -> None:
    """Raises a ValueError if `edge_index` is no `(2, E)` tensor of integers."""
    whole = not (edge_index.is_floating_point() or edge_index.is_complex() or edge_index.dtype == torch.bool)
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or not whole:
        got = f"{tuple(edge_index.shape)} of {edge_index.dtype}"
        rule = "edge_index must be (2, E) integers, nodes from and nodes to"
        raise ValueError(f"{function}: {rule}; got {got}. Use adjacency.nonzero().T.")


def pairs(edge_index: Tensor) -> tuple[int, Tensor]:
    """Returns the number of node pairs with an edge in either direction, and the pair that each edge joins.

    >>> pairs(torch.tensor([[0, 1, 2, 2], [1, 0, 0, 2]]))
    (3, tensor([0, 0, 1, 2]))
    """
    if edge_index.shape[1] == 0:
        return 0, edge_index[0].long()
    nodes = edge_index.long()
    if int(nodes.max()) >= 1 << 31:  # their pairs would leave int64
        nodes = torch.unique(nodes, return_inverse=True)[1]
    low, high = nodes.amin(0), nodes.amax(0)
    names, which = torch.unique(low * (high.max() + 1) + high, return_inverse=True)
    return len(names), which
