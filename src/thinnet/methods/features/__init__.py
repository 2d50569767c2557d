"""Methods whose coin decides a channel, or a region of one."""

from thinnet.facts import Method
from thinnet.methods.features import spatial_dropout

METHODS = (
    Method(spatial_dropout.FACTS, spatial_dropout.Dropout1d, spatial_dropout.dropout1d),
    Method(spatial_dropout.FACTS, spatial_dropout.Dropout2d, spatial_dropout.dropout2d),
    Method(spatial_dropout.FACTS, spatial_dropout.Dropout3d, spatial_dropout.dropout3d),
)
