"""Rows of the methods for routers."""

import torch
from torch import Tensor, nn

from rows.elementwise import FLAT, sized
from rows.row import METHODS, Called, Row
from thinnet.methods.experts.expert_dropout import ExpertDropout
from thinnet.methods.experts.gating_dropout import GatingDropout


def weights(router: nn.Module, x: Tensor) -> Tensor:
    """The weights of the experts."""
    return router(x).softmax(-1)


ROWS = (Row(METHODS["RouterJitter"], FLAT, **sized("RouterJitter")),)
LAYERS = (
    Row(METHODS["ExpertDropout"], ((4, 6, 8),), build=lambda p: Called(weights, ExpertDropout(p)), resized=True, rounded=False),
    Row(
        METHODS["GatingDropout"],
        ((4, 8),),
        build=lambda p: Called(weights, GatingDropout(p, local=torch.arange(8) < 3)),
        resized=True,
        rounded=False,
    ),
)
OWN_TESTS: dict[str, str] = {"ExpertDropout": "methods/test_experts.py", "GatingDropout": "methods/test_experts.py"}
