"""One file is one method. The registry: one line a module, with its stateless form and its facts."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from thinnet.facts import Facts
from thinnet.methods import alpha_dropout, dropout, gaussian_dropout, spatial_dropout
from thinnet.site import Site


class Method(NamedTuple):
    """A module of this library, its stateless form, and what both declare."""

    module: type[Site]
    function: Callable[..., Tensor]
    facts: Facts


REGISTRY = (
    Method(dropout.Dropout, dropout.dropout, dropout.FACTS),
    Method(spatial_dropout.Dropout1d, spatial_dropout.dropout1d, spatial_dropout.FACTS),
    Method(spatial_dropout.Dropout2d, spatial_dropout.dropout2d, spatial_dropout.FACTS),
    Method(spatial_dropout.Dropout3d, spatial_dropout.dropout3d, spatial_dropout.FACTS),
    Method(alpha_dropout.AlphaDropout, alpha_dropout.alpha_dropout, alpha_dropout.FACTS),
    Method(alpha_dropout.FeatureAlphaDropout, alpha_dropout.feature_alpha_dropout, alpha_dropout.FEATURE_FACTS),
    Method(gaussian_dropout.GaussianDropout, gaussian_dropout.gaussian_dropout, gaussian_dropout.FACTS),
)
