"""Losses that use several masks for each sample."""

from thinnet.methods.losses.consistency import consistency_loss as consistency_loss
from thinnet.methods.losses.fraternal import fraternal_loss as fraternal_loss
from thinnet.methods.losses.multi_sample import multi_sample_loss as multi_sample_loss
from thinnet.methods.losses.r_drop import r_drop_loss as r_drop_loss
