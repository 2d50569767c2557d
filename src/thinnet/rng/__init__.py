"""Random bits of masks: `DropoutRNG` binds a model to addresses, and a `Site` reads them."""

from thinnet.rng.dropout_rng import DropoutRNG as DropoutRNG
from thinnet.rng.dropout_rng import rng_of as rng_of
from thinnet.rng.key import NoiseKey as NoiseKey
from thinnet.rng.names import site_number as site_number
from thinnet.rng.site import Site as Site
