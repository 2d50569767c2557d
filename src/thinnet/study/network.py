"""The network of a study: a multilayer perceptron with dropout after each hidden activation."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

import thinnet
from thinnet.nn import Dropout
from thinnet.study.dataset import Dataset
from thinnet.study.plan import THIN, Plan, StudyError, TrialKey


def perceptron(features: int, hidden: Sequence[int], outputs: int, rate: float) -> nn.Sequential:
    """Build Linear, ReLU and Dropout for each width, and a last Linear. Its random draws do not depend on the rate.

    Args:
        features: the number of inputs.
        hidden: the widths of the hidden layers.
        outputs: the number of outputs.
        rate: the probability of dropping a hidden unit; neither inputs nor outputs are dropped.

    Example:
        >>> [type(layer).__name__ for layer in perceptron(4, [8], 3, rate=0.5)]
        ['Linear', 'ReLU', 'Dropout', 'Linear']
    """
    layers: list[nn.Module] = []
    for inputs, width in pairwise((features, *hidden)):
        layers += [nn.Linear(inputs, width), nn.ReLU(), Dropout(rate)]
    return nn.Sequential(*layers, nn.Linear(hidden[-1], outputs))


def seeded_network(data: Dataset, plan: Plan, rate: float, seed: int) -> nn.Module:
    """Build the network with the initial weights of a seed; torch's default generator is unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if data.file is not None:
            return data.file.network(rate)
        return perceptron(data.train.x.shape[1], plan.hidden, data.task.outputs, rate)


def thinned(network: nn.Module, data: Dataset, plan: Plan, key: TrialKey) -> nn.Module:
    """Apply `thinnet.thin` where the method is thin and the rate is above 0; the weights and the outputs in eval mode stay.

    Raises:
        StudyError: a hidden layer cannot be thinned.
    """
    if key.method == THIN and key.rate > 0:
        thinning = thinnet.thin(network, torch.from_numpy(data.train.x[: plan.batch]), groups=plan.groups)
        if len(thinning.thinned) < (len(plan.hidden) if data.file is None else 1):
            got = f"{key.rate:g} and {','.join(map(str, plan.hidden))}: site {thinning.notes[0]}"
            raise StudyError("--rates", f"{THIN} must skip units of every layer", got, "Use higher --rates or wider --hidden.")
    return network


def check_configurations(data: Dataset, plan: Plan) -> None:
    """Build the network of every configuration once.

    Raises:
        StudyError: a configuration cannot be trained with its method.
    """
    for method, rate in plan.configurations:
        thinned(seeded_network(data, plan, rate, seed=0), data, plan, TrialKey(method, rate, 0))
