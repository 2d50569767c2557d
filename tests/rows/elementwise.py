"""Rows of the methods that drop or perturb single elements."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from rows.row import METHODS, Row
from thinnet.methods.elementwise.importance_dropout import ImportanceDropout
from thinnet.methods.elementwise.standout import Standout

FLAT = ((6,), (5, 7), (3, 130), (2, 3, 4, 5))
BELOW_ONE = dict(edges=(0.0,), outside=(-0.1, 1.0, 1.5, float("nan"), True, "0.5"))
IMPORTANCE = {"importance": torch.tensor([0.7, 1.1, 0.9, 9.0, 1.2, 1.0, 0.8]), "floor": 0.2}
with torch.random.fork_rng():
    torch.manual_seed(0)
    LAYER = {"layer": nn.Linear(5, 7), "activation": torch.tanh, "alpha": 1.5, "beta": -0.4}


def sized(name: str) -> dict[str, Any]:
    """The row of a method with the size of its noise instead of a rate."""
    return dict(rates=(0.25, 0.5), edges=(), outside=(), build=METHODS[name].module)


def importance_at(p: float) -> nn.Module:
    """A module with a fixed importance, so that its output does not depend on earlier calls."""
    site = ImportanceDropout(7, p, momentum=0.0, floor=IMPORTANCE["floor"])
    site.importance.copy_(IMPORTANCE["importance"])
    return site


def positive(shape: tuple[int, ...]) -> Tensor:
    """Units that are all active: only then is the expected drop known."""
    return torch.rand(shape) + 0.1


ROWS = (
    Row(METHODS["Dropout"], FLAT),
    Row(METHODS["Dropout"], ((300, 3, 5), (64, 2, 130)), {"noise_shape": (None, 1, None)}),
    Row(METHODS["AlphaDropout"], FLAT),
    Row(METHODS["FeatureAlphaDropout"], ((4, 8, 5), (2, 130, 1, 2))),
    # odd widths: no share of them is whole
    Row(METHODS["BatchwiseDropout"], ((5, 7), (3, 131), (2, 3, 4, 5)), kept=160, compiles=False),
    Row(METHODS["BatchwiseDropout"], FLAT[1:], {"count": "bernoulli", "axis": 1}, kept=160),
    Row(METHODS["GaussianDropout"], FLAT, **BELOW_ONE),
    Row(METHODS["GaussianNoise"], FLAT, **sized("GaussianNoise")),
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
        METHODS["Standout"]._replace(function=None),  # it takes a layer where others take a rate
        ((6, 5), (3, 2, 5)),
        settings=LAYER,
        rates=(0.5,),
        edges=(),
        outside=(),
        build=lambda p: Standout(**copy.deepcopy(LAYER)),
        kept=4000,  # z, f(z) and a byte for each of 7 units
        resized=True,
        rounded=False,
    ),
    Row(METHODS["UniformDropout"], FLAT, **BELOW_ONE),
)

OWN_TESTS: dict[str, str] = {}
