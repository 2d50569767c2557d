"""After training: Monte-Carlo draws, exact averages, deterministic forms and calibration of a model with dropout."""

from typing import TYPE_CHECKING

from thinnet._lazy import lazy as _lazy

if TYPE_CHECKING:
    from thinnet.inference.calibration.calibration import calibrate as calibrate
    from thinnet.inference.deterministic.distillation import distill as distill
    from thinnet.inference.deterministic.moments import moments as moments
    from thinnet.inference.deterministic.scaling import weight_scaled as weight_scaled
    from thinnet.inference.enumeration.enumeration import exact as exact
    from thinnet.inference.mode.mc_mode import mc_mode as mc_mode
    from thinnet.inference.monte_carlo.prediction import Prediction as Prediction
    from thinnet.inference.monte_carlo.prediction import precision as precision
    from thinnet.inference.monte_carlo.sampling import sample as sample

_PLACES = {
    "Prediction": "thinnet.inference.monte_carlo.prediction",
    "calibrate": "thinnet.inference.calibration.calibration",
    "distill": "thinnet.inference.deterministic.distillation",
    "exact": "thinnet.inference.enumeration.enumeration",
    "mc_mode": "thinnet.inference.mode.mc_mode",
    "moments": "thinnet.inference.deterministic.moments",
    "precision": "thinnet.inference.monte_carlo.prediction",
    "sample": "thinnet.inference.monte_carlo.sampling",
    "weight_scaled": "thinnet.inference.deterministic.scaling",
}

if not TYPE_CHECKING:
    __getattr__, __dir__, __all__ = _lazy(__name__, _PLACES)
