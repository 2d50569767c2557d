"""Fast, reproducible dropout for PyTorch: 50+ methods, and masks that can be addressed and reproduced.

PYTEST_DONT_REWRITE: pytest then takes thinnet as it is, even if it was imported before the plugin.
"""

from importlib.metadata import PackageNotFoundError as _PackageNotFoundError
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

from thinnet._lazy import lazy as _lazy

if TYPE_CHECKING:
    from thinnet import distributed as distributed
    from thinnet import functional as functional
    from thinnet import inference as inference
    from thinnet import integrations as integrations
    from thinnet import losses as losses
    from thinnet import methods as methods
    from thinnet import models as models
    from thinnet import nn as nn
    from thinnet import ops as ops
    from thinnet import optim as optim
    from thinnet import rng as rng
    from thinnet import schedules as schedules
    from thinnet import sklearn as sklearn
    from thinnet import study as study
    from thinnet.benchmark.bench import bench as bench
    from thinnet.diagnosis.diagnose import diagnose as diagnose
    from thinnet.methods.learned.penalty import penalty as penalty
    from thinnet.models.audit.audit import assert_dropout_right as assert_dropout_right
    from thinnet.models.audit.audit import audit as audit
    from thinnet.models.edit import freeze as freeze
    from thinnet.models.edit import insert as insert
    from thinnet.models.edit import replace as replace
    from thinnet.models.edit import set_rates as set_rates
    from thinnet.models.edit import strip as strip
    from thinnet.models.optimize.optimize import optimize as optimize
    from thinnet.models.recommend.recommend import recommend as recommend
    from thinnet.models.sites import sites as sites
    from thinnet.models.thin.thin import thin as thin
    from thinnet.rng import DropoutRNG as DropoutRNG
    from thinnet.rng import rng_of as rng_of

_PLACES = {
    "DropoutRNG": "thinnet.rng",
    "audit": "thinnet.models.audit.audit",
    "assert_dropout_right": "thinnet.models.audit.audit",
    "bench": "thinnet.benchmark.bench",
    "diagnose": "thinnet.diagnosis.diagnose",
    "freeze": "thinnet.models.edit",
    "insert": "thinnet.models.edit",
    "optimize": "thinnet.models.optimize.optimize",
    "penalty": "thinnet.methods.learned.penalty",
    "recommend": "thinnet.models.recommend.recommend",
    "replace": "thinnet.models.edit",
    "rng_of": "thinnet.rng",
    "set_rates": "thinnet.models.edit",
    "sites": "thinnet.models.sites",
    "strip": "thinnet.models.edit",
    "thin": "thinnet.models.thin.thin",
}
_MODULES = (
    *("distributed", "functional", "inference", "integrations", "losses", "methods", "models", "nn", "ops", "optim"),
    *("rng", "schedules", "sklearn", "study"),
)

try:
    __version__ = _version("thinnet")
except _PackageNotFoundError:  # a source tree that was not installed
    __version__ = "unknown"

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts every name
    __getattr__, __dir__, __all__ = _lazy(__name__, _PLACES, _MODULES)  # `thinnet lint` does not wait for PyTorch
