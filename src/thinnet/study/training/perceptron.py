"""The multilayer perceptron of a study and of the estimators of `thinnet.sklearn`."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from thinnet.nn import Dropout
from thinnet.rng import Site
from thinnet.study.design.configuration import INPUT


def perceptron(
    features: int,
    hidden: Sequence[int],
    outputs: int,
    rate: float | Sequence[float],
    input_site: bool = False,
    kind: type[Site] = Dropout,
) -> nn.Sequential:
    """Builds Linear, ReLU and Dropout for each width, and a last Linear. Its random draws do not depend on the rate.

    Args:
        features: the number of inputs.
        hidden: the widths of the hidden layers.
        outputs: the number of outputs.
        rate: the probability of dropping a hidden unit, one or one a layer; neither inputs nor outputs are dropped.
        input_site: whether there is a dropout site before the first layer; its rate is 0.
        kind: the method at the hidden sites.

    Example:
        >>> [name for name, layer in perceptron(4, [8], 3, rate=0.5).named_children()]
        ['linear1', 'relu1', 'hidden1', 'output']
    """
    rates = [rate] * len(hidden) if isinstance(rate, (int, float)) else rate
    layers: list[tuple[str, nn.Module]] = [(INPUT, Dropout(0.0))] if input_site else []
    for number, ((inputs, width), p) in enumerate(zip(pairwise((features, *hidden)), rates, strict=True), start=1):
        layers += [(f"linear{number}", nn.Linear(inputs, width)), (f"relu{number}", nn.ReLU())]
        layers += [(f"hidden{number}", kind(p))]
    return nn.Sequential(OrderedDict([*layers, ("output", nn.Linear((features, *hidden)[-1], outputs))]))
