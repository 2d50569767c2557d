"""DropNode: all features of a node are dropped by one coin, so that its neighbours have to speak for it.

    y[i] = x[i] m[i] / (1 - p),  m ~ Bernoulli(1 - p) for each node i

The toss of `Dropout` with a node for a sample. Feng et al. 2020, "Graph random neural networks", NeurIPS, arXiv:2005.11079.
"""

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
    """Drops all features of nodes at random and scales those of the others by 1 / (1 - p).

    y[i] = x[i] m[i] / (1 - p), with m ~ Bernoulli(1 - p) for each node i.

    Args:
        x: `(N, ...)`, the features of N nodes.
        p: fraction of nodes whose features are set to zero, on average; honoured to 1/65536.
        training: whether coins are tossed. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: a tensor like `x`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Feng et al. 2020, arXiv:2005.11079.

    >>> kept = drop_node(torch.ones(50, 8), 0.5, training=True).count_nonzero(dim=1)
    >>> bool(((kept == 0) | (kept == 8)).all())
    True
    """
    return call("drop_node", x, p, training, False, generator, shared_axes=samples(x.ndim))


class DropNode(Site):
    """Drops all features of nodes at random in training; does nothing in eval.

    y[i] = x[i] m[i] / (1 - p), with m ~ Bernoulli(1 - p) for each node i.

    With named coins a node is a sample: `rng.at(step, samples=node_ids)` gives a node the same coin in every subgraph.

    Args:
        p: fraction of nodes whose features are set to zero, on average; honoured to 1/65536.

    Shapes: `(N, ...)`, the same out as in.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Feng et al. 2020, arXiv:2005.11079.

    >>> DropNode(0.5)(torch.randn(50, 8)).shape
    torch.Size([50, 8])
    """

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one coin for each node."""
        return self.apply_noise(x, shared_axes=samples(x.ndim))


METHODS = (
    Method(
        FACTS,
        DropNode,
        drop_node,
        lambda x: drop_node(x, 0.3, training=True),
    ),
)
