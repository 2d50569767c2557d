"""After training: what can be read off the 2^n thinned networks that dropout trained."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.predict.averages.enumeration import exact as exact
    from thinnet.predict.calibration.calibration import calibrate as calibrate
    from thinnet.predict.draws.prediction import Prediction as Prediction
    from thinnet.predict.draws.regression import precision as precision
    from thinnet.predict.draws.sampling import sample as sample
    from thinnet.predict.one_pass.distillation import distill as distill
    from thinnet.predict.one_pass.gaussian import moments as moments
    from thinnet.predict.one_pass.scaling import weight_scaled as weight_scaled
    from thinnet.predict.switching.switch import stochastic as stochastic

_PLACES = {
    "Prediction": "draws.prediction",
    "calibrate": "calibration.calibration",
    "distill": "one_pass.distillation",
    "exact": "averages.enumeration",
    "moments": "one_pass.gaussian",
    "precision": "draws.regression",
    "sample": "draws.sampling",
    "stochastic": "switching.switch",
    "weight_scaled": "one_pass.scaling",
}


def __getattr__(name: str) -> object:
    """Loads a part when it is asked for."""
    if name in _PLACES:
        globals()[name] = getattr(_import_module(f"thinnet.predict.{_PLACES[name]}"), name)
        return globals()[name]
    raise AttributeError(f"module 'thinnet.predict' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
