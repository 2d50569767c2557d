"""Methods that toss several masks in one step."""

from thinnet.methods.facts import Method
from thinnet.methods.losses import consistency, fraternal, multi_sample, r_drop

METHODS = (
    Method(multi_sample.FACTS, multi_sample.MultiSample, multi_sample.multi_sample_loss),
    Method(r_drop.FACTS, function=r_drop.r_drop_loss),
    Method(fraternal.FACTS, function=fraternal.fraternal_loss),
    Method(consistency.FACTS, function=consistency.consistency_loss),
)
