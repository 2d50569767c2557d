"""Training of one model on several devices: attention over sequences that ranks share, and masks of parts."""

from thinnet.distributed.ring import ring_attention as ring_attention
from thinnet.distributed.ring import ring_positions as ring_positions
from thinnet.distributed.styles import DropoutParallel as DropoutParallel
from thinnet.distributed.styles import take_sample_ids as take_sample_ids
