"""Dropout for PyTorch: every random decision has a name, and costs no more than a copy of the tensor."""

from importlib import import_module as _import_module
from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet import coins as coins
    from thinnet import functional as functional
    from thinnet import methods as methods
    from thinnet import model as model
    from thinnet import nn as nn
    from thinnet import ops as ops
    from thinnet import predict as predict
    from thinnet import rates as rates
    from thinnet.coins import Coins as Coins
    from thinnet.methods.learned.penalty import penalty as penalty
    from thinnet.model.audit import assert_dropout_right as assert_dropout_right
    from thinnet.model.audit import audit as audit
    from thinnet.model.edit import freeze as freeze
    from thinnet.model.edit import insert as insert
    from thinnet.model.edit import replace as replace
    from thinnet.model.edit import set_rates as set_rates
    from thinnet.model.edit import strip as strip
    from thinnet.model.sites import sites as sites
    from thinnet.predict.diagnosis.diagnose import diagnose as diagnose
    from thinnet.thinning.thin import thin as thin

_PLACES = {
    "Coins": "thinnet.coins",
    "audit": "thinnet.model.audit",
    "assert_dropout_right": "thinnet.model.audit",
    "diagnose": "thinnet.predict.diagnosis.diagnose",
    "freeze": "thinnet.model.edit",
    "insert": "thinnet.model.edit",
    "penalty": "thinnet.methods.learned.penalty",
    "replace": "thinnet.model.edit",
    "set_rates": "thinnet.model.edit",
    "sites": "thinnet.model.sites",
    "strip": "thinnet.model.edit",
    "thin": "thinnet.thinning.thin",
}
_MODULES = ("coins", "data", "functional", "integrations", "methods", "model", "nn", "ops", "predict", "rates")

try:
    __version__ = _version("thinnet")
except _PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"


def __getattr__(name: str) -> object:
    """Loads a part when it is asked for: a command that needs no PyTorch, such as `thinnet lint`, does not wait for it."""
    if name in _MODULES:
        return _import_module(f"thinnet.{name}")
    if name in _PLACES:
        globals()[name] = getattr(_import_module(_PLACES[name]), name)
        return globals()[name]
    raise AttributeError(f"module 'thinnet' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_PLACES})
