"""Rows of the methods that drop inputs."""

import torch
from torch import Tensor

from rows.row import METHODS, Called, Row
from thinnet.methods.inputs.modality_dropout import ModalityDropout


def two(layer: torch.nn.Module, x: Tensor) -> Tensor:
    """The halves of a tensor as two inputs."""
    return torch.cat(layer(*x.chunk(2, 1)), 1)


ROWS = (
    Row(METHODS["ConditionDropout"], ((6,), (4, 8, 5), (3, 130)), kept=192),
    Row(METHODS["ConditionDropout"], ((5, 7),), {"null": 0.75}, kept=192),
    Row(METHODS["ConditionDropout"], ((5, 7),), {"null": torch.linspace(-1, 1, 7)}, kept=192, state=("null",)),
    Row(METHODS["FeatureDropout"], ((5, 7), (3, 130), (2, 3, 4, 5))),
)
LAYERS = (Row(METHODS["ModalityDropout"], ((4, 6, 3),), build=lambda p: Called(two, ModalityDropout(p)), resized=True),)
OWN_TESTS: dict[str, str] = {"ModalityDropout": "methods/test_inputs.py"}
