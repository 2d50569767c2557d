"""Training of one model on several devices: attention over sequences that a ring of ranks shares."""

from thinnet.distributed.ring import ring_attention as ring_attention
from thinnet.distributed.ring import ring_positions as ring_positions
