"""Fused attention with dropout: `attention` is its entry point, `reference` defines its bits and numbers."""

from thinnet.ops.attention.call import attention as attention
from thinnet.ops.attention.call import is_faster as is_faster
from thinnet.ops.attention.schema import FAST as FAST
from thinnet.ops.attention.settings import Settings as Settings
