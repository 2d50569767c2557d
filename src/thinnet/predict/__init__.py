"""After training: what can be read off the 2^n thinned networks that dropout trained."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.predict.calibration import calibrate as calibrate
    from thinnet.predict.distillation import distill as distill
    from thinnet.predict.enumeration import exact as exact
    from thinnet.predict.gaussian import moments as moments
    from thinnet.predict.prediction import Prediction as Prediction
    from thinnet.predict.sampling import sample as sample
    from thinnet.predict.scaling import weight_scaled as weight_scaled
    from thinnet.predict.switch import stochastic as stochastic

_PLACES = {
    "Prediction": "prediction",
    "calibrate": "calibration",
    "distill": "distillation",
    "exact": "enumeration",
    "moments": "gaussian",
    "sample": "sampling",
    "stochastic": "switch",
    "weight_scaled": "scaling",
}


def __getattr__(name: str) -> object:
    """Loads a part when it is asked for."""
    if name in _PLACES:
        globals()[name] = getattr(_import_module(f"thinnet.predict.{_PLACES[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'thinnet.predict' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
