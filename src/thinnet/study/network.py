"""The network of a study: a multi-layer perceptron with dropout after each hidden activation, thinned or not."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

import thinnet
from thinnet.nn import Dropout
from thinnet.study.cases import Data
from thinnet.study.plan import THIN, Key, Plan, StudyError


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


def seeded_network(data: Data, plan: Plan, rate: float, seed: int) -> nn.Sequential:
    """Builds the arm's network with the initial weights that its seed names, and leaves torch's own generator alone.

    Args:
        data: says how many inputs and outputs there are.
        plan: says how wide the network is.
        rate: the arm's rate.
        seed: of the initial weights.

    Returns:
        The network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return perceptron(data.train.x.shape[1], plan.hidden, data.task.outputs, rate)


def thinned(network: nn.Sequential, data: Data, plan: Plan, key: Key) -> nn.Sequential:
    """Has the network train as its method says; weights, names and what it computes in eval mode stay.

    Args:
        network: as it was built.
        data: gives an example of a batch.
        plan: says how many groups of samples have coins of their own.
        key: names the method; at rate 0 there is nothing to thin.

    Returns:
        The same network.

    Raises:
        StudyError: if a hidden layer would be trained with a coin for every sample all the same.
    """
    if key.method == THIN and key.rate > 0:
        thinning = thinnet.thin(network, torch.from_numpy(data.train.x[: plan.batch]), groups=plan.groups)
        if len(thinning.thinned) < len(plan.hidden):
            got = f"{key.rate:g} and {','.join(map(str, plan.hidden))}: site {thinning.notes[0]}"
            raise StudyError(
                "--rates", f"{THIN} must leave units out of every layer", got, "Use higher --rates or wider --hidden."
            )
    return network


def check_arms(data: Data, plan: Plan) -> None:
    """Builds the network of every arm once.

    Args:
        data: what to train on.
        plan: the settings.

    Raises:
        StudyError: if one cannot be trained as its method says.
    """
    for method, rate in plan.arms:
        thinned(seeded_network(data, plan, rate, seed=0), data, plan, Key(method, rate, 0))
