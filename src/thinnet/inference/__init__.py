"""After training: what can be read off the 2^n thinned networks that dropout trained."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.inference.calibration.calibration import calibrate as calibrate
    from thinnet.inference.deterministic.distillation import distill as distill
    from thinnet.inference.deterministic.gaussian import moments as moments
    from thinnet.inference.deterministic.scaling import weight_scaled as weight_scaled
    from thinnet.inference.exact.enumeration import exact as exact
    from thinnet.inference.mode.mc_mode import mc_mode as mc_mode
    from thinnet.inference.monte_carlo.prediction import Prediction as Prediction
    from thinnet.inference.monte_carlo.regression import precision as precision
    from thinnet.inference.monte_carlo.sampling import sample as sample

_PLACES = {
    "Prediction": "monte_carlo.prediction",
    "calibrate": "calibration.calibration",
    "distill": "deterministic.distillation",
    "exact": "exact.enumeration",
    "mc_mode": "mode.mc_mode",
    "moments": "deterministic.gaussian",
    "precision": "monte_carlo.regression",
    "sample": "monte_carlo.sampling",
    "weight_scaled": "deterministic.scaling",
}


def __getattr__(name: str) -> object:
    """Loads a part when it is asked for."""
    if name in _PLACES:
        globals()[name] = getattr(_import_module(f"thinnet.inference.{_PLACES[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'thinnet.inference' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
