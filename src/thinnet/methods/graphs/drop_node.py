"""DropNode: drops all features of a node."""

from dataclasses import replace

import torch
from torch import Tensor

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.rng import Site

FACTS = replace(dropout.FACTS, noise_shape=noise_shape_of(samples), used_by=())


def drop_node(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropNode`.

    Args:
        x: `(N, ...)`, the features of N nodes.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = drop_node(torch.ones(50, 8), 0.5, training=True).count_nonzero(dim=1)
    >>> bool(((kept == 0) | (kept == 8)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_node, locals())
    return call("drop_node", x, p, training, False, generator, shared_axes=samples(x.ndim))


class DropNode(Site):
    """Drops all features of each node and scales those of the kept nodes by 1 / (1 - p).

        y[i] = x[i] m[i] / (1 - p),  m ~ Bernoulli(1 - p) for each node i

    With addressed masks a node is a sample: `rng.at(step, samples=node_ids)` gives a node the same decision in every subgraph.

    Noise shape: one decision per node.
    Use when: on the input of a graph network, before features propagate to neighbours; repeatedly for several views.
    Avoid when: neighbours differ, because they then carry no information about a dropped node; or on the output layer.
    Start with: p = 0.5.
    Cost: one random decision per node, and a copy of the input.
    Other implementations: not in PyTorch Geometric, whose dropout_node removes nodes and their edges: that is DropNodes.

    Args:
        p: probability that a node is dropped, rounded to 1/65536.

    Shapes: `(N, ...)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1].

    Source: Feng et al. 2020, "Graph random neural networks", NeurIPS, arXiv:2005.11079.

    >>> DropNode(0.5)(torch.randn(50, 8)).shape
    torch.Size([50, 8])
    """

    shared_axes = staticmethod(samples)

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)


METHODS = (Method(FACTS, DropNode, drop_node, lambda x: drop_node(x, 0.3, training=True)),)
