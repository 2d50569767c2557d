"""Dropout and its neighbours in one pass: `fused` for elementwise chains, `fused_norm` for a residual and a normalisation."""

from thinnet.ops.fused.call import epsilon as epsilon
from thinnet.ops.fused.call import fused as fused
from thinnet.ops.fused.call import fused_norm as fused_norm
from thinnet.ops.fused.reference import Activation as Activation
