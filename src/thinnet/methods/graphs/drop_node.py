"""DropNode: drops all features of a node."""

import torch
from torch import Tensor

from thinnet.methods.call import call
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import noise_shape_of, samples
from thinnet.rng import Site

FACTS = Facts(
    name="DropNode",
    summary="Drops all features of each node by one coin and scales those of the kept nodes by 1 / (1 - p).",
    equation="y[i] = x[i] m[i] / (1 - p),  m ~ Bernoulli(1 - p)",
    paper="Feng et al. 2020, arXiv:2005.11079",
    grain="node",
    place="on the input of a graph network, before features are spread over neighbours; several times for several views",
    avoid="graphs whose neighbours differ: nothing then speaks for a dropped node; and the output layer",
    default="0.5",
    cost="one coin a node: a copy of the input",
    elsewhere="not in PyTorch Geometric, whose dropout_node takes nodes and their edges out of the graph: that is DropNodes",
    expected_drop=dropout.FACTS.expected_drop,
    mean=dropout.FACTS.mean,
    variance=dropout.FACTS.variance,
    definition=dropout.definition,
    noise_shape=noise_shape_of(samples),
)


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
        training: True drops nodes; False returns `x` unchanged.
        generator: draws the seed of this call; PyTorch's default generator if None.

    >>> kept = drop_node(torch.ones(50, 8), 0.5, training=True).count_nonzero(dim=1)
    >>> bool(((kept == 0) | (kept == 8)).all())
    True
    """
    return call("drop_node", x, p, training, False, generator, shared_axes=samples(x.ndim))


class DropNode(Site):
    """Drops all features of each node and scales those of the kept nodes by 1 / (1 - p).

        y[i] = x[i] m[i] / (1 - p),  m ~ Bernoulli(1 - p) for each node i

    One random decision covers a node. With addressed masks a node is a sample: `rng.at(step, samples=node_ids)` gives a node
    the same decision in every subgraph. In eval it is the identity.

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

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def drop(self, x: Tensor) -> Tensor:
        return self.apply_noise(x, shared_axes=samples(x.ndim))


METHODS = (
    Method(
        FACTS,
        DropNode,
        drop_node,
        lambda x: drop_node(x, 0.3, training=True),
    ),
)
