"""Rows: methods whose rates follow the network: its activations, its weights, or how much a unit matters."""

import copy

import torch
from torch import Tensor, nn

from rows.row import METHODS, Row
from thinnet.methods.adaptive.importance_dropout import ImportanceDropout
from thinnet.methods.adaptive.standout import Standout

IMPORTANCE = {"importance": torch.tensor([0.7, 1.1, 0.9, 9.0, 1.2, 1.0, 0.8]), "floor": 0.2}
with torch.random.fork_rng():
    torch.manual_seed(0)
    LAYER = {"layer": nn.Linear(5, 7), "activation": torch.tanh, "alpha": 1.5, "beta": -0.4}


def importance_at(p: float) -> nn.Module:
    """A site whose importance stays as it is: the laws of a method without memory hold for it."""
    site = ImportanceDropout(7, p, momentum=0.0, floor=IMPORTANCE["floor"])
    site.importance.copy_(IMPORTANCE["importance"])
    return site


def positive(shape: tuple[int, ...]) -> Tensor:
    """Units that are all active, for which the fraction that is dropped can be declared."""
    return torch.rand(shape) + 0.1


ROWS = (
    Row(
        METHODS["ImportanceDropout"],
        ((5, 7), (3, 2, 7)),
        settings=IMPORTANCE,
        build=importance_at,
        kept=128,  # rates and scales of the units
        state=("importance",),
    ),
    Row(
        METHODS["Jumpout"],
        ((5, 7), (3, 130), (2, 3, 4, 5)),
        settings={"p_min": 0.02, "p_max": 0.5},
        edges=(0.0,),
        inputs=positive,
        kept=600,  # rates and scales of the samples
    ),
    Row(
        METHODS["Standout"]._replace(function=None),  # which takes a layer where others take a rate
        ((6, 5), (3, 2, 5)),
        settings=LAYER,
        rates=(0.5,),
        edges=(),
        outside=(),
        build=lambda p: Standout(**copy.deepcopy(LAYER)),
        kept=4000,  # z, f(z) and a byte for each of 7 units
        resized=True,
    ),
)

OWN_TESTS = {"TargetedDropout": "methods/test_adaptive_targeted.py"}
