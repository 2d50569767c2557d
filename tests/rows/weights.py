"""Rows of the methods that drop weights."""

from dataclasses import replace

import torch
from torch import nn

from rows.row import METHODS, Called, Row
from thinnet.functional import mixout, targeted_dropout
from thinnet.methods.facts import Method
from thinnet.methods.weights.lora_dropout import LoRADropout


def layer(make: type[nn.Module], *arguments: object, **options: object) -> dict[str, object]:
    """A layer with fixed weights, as a setting."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return {"layer": make(*arguments, **options)}


def per_batch(name: str) -> Method:
    """The method with one mask for the batch."""
    method = METHODS[name]
    return method._replace(facts=replace(method.facts, per_batch=True))


def updated(update: nn.Module, a: torch.Tensor) -> torch.Tensor:
    """The update of a first factor, with fixed second ones."""
    return update(a, torch.ones(len(a), 3, 2, dtype=a.dtype))


def per_map(method: Method) -> Method:
    """The method on a convolution, for which it states no variance."""
    return method._replace(facts=replace(method.facts, variance=None))


BELOW_ONE = dict(edges=(0.0,), outside=(-0.1, 1.0, 1.5, float("nan"), True, "0.5"))
SMALL = layer(nn.Linear, 5, 3)
CONV = layer(nn.Conv1d, 2, 4, 2, stride=2, padding=1, groups=2, padding_mode="circular")
MOVED = SMALL | {"target": torch.linspace(-1, 1, 15).reshape(3, 5)}
LAYER = dict(resized=True, rounded=False)
FLAT = (6, 5), (3, 2, 5)

ROWS: tuple[Row, ...] = (
    Row(METHODS["DropConnect"], FLAT, SMALL, **LAYER, kept=1024),
    Row(METHODS["DropConnect"], ((5, 2, 4),), CONV, **LAYER, kept=1024),
    Row(per_batch("DropConnect"), FLAT[1:], SMALL | {"shared": True}, **LAYER, kept=1024),
    Row(METHODS["DropFilter"], ((5, 2, 4),), CONV, **LAYER, kept=3200),  # the padded input
    Row(per_batch("DropFilter"), ((5, 2, 4),), CONV | {"shared": True}, **LAYER, kept=3200),
    Row(METHODS["Shakeout"], FLAT, SMALL | {"c": 0.3, "smooth": 0.0}, **LAYER, kept=4096, **BELOW_ONE),
    Row(METHODS["Shakeout"], FLAT[:1], SMALL, **LAYER, kept=4096, derivative=False, twice=False, **BELOW_ONE),
    Row(
        METHODS["Shakeout"],
        ((5, 2, 4),),
        CONV | {"c": 0.3},
        **LAYER,
        kept=8192,
        derivative=False,
        twice=False,
        **BELOW_ONE,
    ),
    Row(METHODS["QuantNoise"], FLAT, SMALL | {"block": 2, "bits": 2}, **LAYER, kept=1024, derivative=False, twice=False),
    Row(
        per_map(METHODS["QuantNoise"]),
        ((5, 2, 4),),
        CONV | {"block": 3, "bits": 3},
        **LAYER,
        kept=4096,
        derivative=False,
        twice=False,
    ),
    Row(METHODS["WeightDrop"], FLAT[:1], SMALL, **LAYER, kept=1024),
    Row(METHODS["Mixout"]._replace(function=None), FLAT[:1], MOVED, **LAYER, kept=1024, **BELOW_ONE),
)
LAYERS: tuple[Row, ...] = (
    Row(METHODS["LoRADropout"], ((4, 2, 5),), build=lambda p: Called(updated, LoRADropout(p)), resized=True, rounded=False),
    Row(
        METHODS["Mixout"],
        ((6, 5),),
        build=lambda p: Called(lambda x, on: mixout(x, p, target=torch.full_like(x, 0.5), training=on)),
    ),
    Row(METHODS["TargetedDropout"], ((6, 5),), build=lambda p: Called(lambda x, on: targeted_dropout(x, p, training=on))),
    Row(METHODS["TargetedDropout"], FLAT[:1], SMALL, **LAYER),
)
OWN_TESTS: dict[str, str] = {
    "LoRADropout": "methods/test_weights_lora.py",
    "TargetedDropout": "methods/test_targeted_dropout.py",
    "max_norm_": "methods/test_max_norm.py",
}
