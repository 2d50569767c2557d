"""Dropout for PyTorch: every random decision has a name, and costs no more than a copy of the tensor."""

from importlib.metadata import version as _version

from thinnet import functional as functional
from thinnet import nn as nn
from thinnet import ops as ops
from thinnet.coins import Coins as Coins

__version__ = _version("thinnet")
