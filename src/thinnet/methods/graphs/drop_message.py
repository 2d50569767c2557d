"""DropMessage: drops elements of the messages between nodes of a graph."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.call import call, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.wrapped import Wrapped


def definition(messages: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the kept elements (u >= p) scaled by 1 / (1 - p), the others as zeros."""
    return torch.where(u >= p, messages / (1 - p) if p < 1 else messages, 0)


FACTS = Facts(
    expected_drop=lambda p: p,
    mean=lambda messages, p: messages * (p < 1),
    variance=lambda messages, p: messages.square() * (p / (1 - p) if p < 1 else 0),
    definition=definition,
    per_batch=True,
)


def drop_message(
    messages: Tensor, p: float | Tensor = 0.5, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Functional form of `DropMessage`.

    Args:
        messages: `(E, ...)`, one for each edge.
        training: whether to drop; `messages` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> x, edge_index = torch.ones(3, 4), torch.tensor([[0, 1, 2], [1, 2, 0]])
    >>> drop_message(x[edge_index[0]], 1.0, training=True).count_nonzero()
    tensor(0)
    """
    if not isinstance(messages, Tensor):
        return no_tensor(drop_message, locals())
    return call("drop_message", messages, p, training, False, generator)


class DropMessage(Wrapped):
    """Drops elements of the messages of a graph layer and scales the kept ones by 1 / (1 - p).

        m'[e, d] = m[e, d] b[e, d] / (1 - p),  b ~ Bernoulli(1 - p) for each element of the message of edge e

    Dropout of features, DropEdge and DropNode are special cases that share decisions among messages. Of these four, its output
    has the smallest variance at the same rate, because all of its decisions are independent.

    Noise shape: one decision per element of the message of an edge. A graph, or a batch of graphs, is one sample.
    Use when: on the layers of a graph network, in place of dropout of the node features.
    Avoid when: the layer never makes messages, as with a sparse adjacency matrix: that is an error.
    Start with: p from 0.1 to 0.5.
    Cost: little more than a copy of the messages, which the layer makes anyway.
    Other implementations: the authors' code changes each layer; no library.

    Args:
        layer: a `torch_geometric.nn.MessagePassing`, which becomes the child `layer`. The checkpoint has its keys.
        p: probability that an element is dropped, rounded to 1/65536.

    Shapes: those of the layer.

    Raises: ValueError if `p` is not in [0, 1]; TypeError if `layer` passes no messages; RuntimeError if a call made none.

    Source: Fang, Xiao, Wang, Xu, Yang, Yang 2023, "DropMessage", AAAI, arXiv:2204.10037.

    >>> import torch_geometric  # doctest: +SKIP
    >>> layer = DropMessage(torch_geometric.nn.GCNConv(8, 4), 0.5)  # doctest: +SKIP
    """

    def __init__(self, layer: nn.Module, p: float = 0.5) -> None:
        super().__init__(layer, p)
        if not hasattr(layer, "register_message_forward_hook"):
            step = "Pass a torch_geometric.nn.MessagePassing, or use drop_message inside of the layer."
            raise TypeError(f"DropMessage: layer must pass messages; got {type(layer).__name__}. {step}")

    def bare_in_eval(self) -> bool:
        return True

    def forward(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Returns the output of the layer, in training with dropped messages."""
        if not self.training:
            return self.layer(*args, **kwargs)
        used = []

        def drop(_: Any, __: Any, messages: Tensor) -> Tensor:
            used.append(True)
            key = self.key(messages, batch=None)
            return messages if key is None else key.apply_noise(messages)

        handle = self.layer.register_message_forward_hook(drop)
        try:
            y = self.layer(*args, **kwargs)
        finally:
            handle.remove()
        if not used:
            step = "Pass edge_index as a tensor (2, E), not a sparse matrix."
            raise RuntimeError(f"DropMessage: layer must compute messages; {type(self.layer).__name__} computed none. {step}")
        return y

    def extra_repr(self) -> str:
        return f"p={self.p}"


METHODS = (Method(FACTS, DropMessage, drop_message),)
