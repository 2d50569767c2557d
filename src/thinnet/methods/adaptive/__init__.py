"""Methods whose rates follow the network: its activations, its weights, or how much a unit matters."""

import torch

from thinnet.methods.adaptive import importance_dropout, jumpout, standout, targeted_dropout
from thinnet.methods.facts import Method


def _identity(size: int) -> torch.nn.Linear:
    """Returns a layer that changes nothing, so that a picture shows what the coins do."""
    layer = torch.nn.Linear(size, size, bias=False)
    layer.weight = torch.nn.Parameter(torch.eye(size), requires_grad=False)
    return layer


METHODS = (
    Method(
        standout.FACTS,
        standout.Standout,
        standout.standout,
        lambda x: standout.standout(x, _identity(x.shape[1]), alpha=8.0, beta=-2.0, training=True),
    ),
    Method(
        importance_dropout.FACTS,
        importance_dropout.ImportanceDropout,
        importance_dropout.importance_dropout,
        lambda x: importance_dropout.importance_dropout(x, 0.3, importance=x.square().mean(0).sqrt(), training=True),
    ),
    Method(
        targeted_dropout.FACTS,
        targeted_dropout.TargetedDropout,
        targeted_dropout.targeted_dropout,
        lambda x: targeted_dropout.targeted_dropout(x, 0.6, training=True),
    ),
    Method(
        jumpout.FACTS,
        jumpout.Jumpout,
        jumpout.jumpout,
        lambda x: jumpout.jumpout(x, 0.3, training=True),
    ),
)
