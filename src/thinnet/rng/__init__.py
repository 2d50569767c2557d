"""A coin's name and where it comes from: `DropoutRNG` binds a model to names, and a site reads them."""

from thinnet.rng.dropout_rng import DropoutRNG as DropoutRNG
from thinnet.rng.key import NoiseKey as NoiseKey
from thinnet.rng.names import site_number as site_number
from thinnet.rng.site import Site as Site
