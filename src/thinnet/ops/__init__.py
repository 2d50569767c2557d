"""The op that applies noise: `apply_noise` is its entry point, `reference` defines the bits, `backends` reports the paths."""

from thinnet.ops.backends import backends as backends
from thinnet.ops.backends import why as why
from thinnet.ops.noise import apply_noise as apply_noise
from thinnet.ops.noise import check_input as check_input
from thinnet.ops.noise import write as write
from thinnet.ops.reference import NoiseKind as NoiseKind
