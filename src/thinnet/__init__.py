"""Dropout for PyTorch: every random decision has a name, and costs no more than a copy of the tensor."""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version

from thinnet import functional as functional
from thinnet import nn as nn
from thinnet import ops as ops
from thinnet.coins import Coins as Coins

try:
    __version__ = _version("thinnet")
except _PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"
