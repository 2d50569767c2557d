"""The network of a study: a multi-layer perceptron with dropout after each hidden activation."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from thinnet.nn import Dropout


def perceptron(features: int, hidden: Sequence[int], outputs: int, rate: float) -> nn.Sequential:
    """Builds the network; the number and order of its random draws do not depend on the rate.

    Args:
        features: inputs a case.
        hidden: widths of the hidden layers.
        outputs: outputs a case.
        rate: the probability of dropping a hidden unit; neither inputs nor outputs are dropped.

    Returns:
        Linear, ReLU and Dropout for each width, and a last Linear.

    Example:
        >>> [type(layer).__name__ for layer in perceptron(4, [8], 3, rate=0.5)]
        ['Linear', 'ReLU', 'Dropout', 'Linear']
    """
    layers: list[nn.Module] = []
    for inputs, width in pairwise((features, *hidden)):
        layers += [nn.Linear(inputs, width), nn.ReLU(), Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))
