"""The stateless form of every method. `training` is a required keyword: there is no default to forget."""

from thinnet.methods.features.spatial_dropout import dropout1d as dropout1d
from thinnet.methods.features.spatial_dropout import dropout2d as dropout2d
from thinnet.methods.features.spatial_dropout import dropout3d as dropout3d
from thinnet.methods.units.alpha_dropout import alpha_dropout as alpha_dropout
from thinnet.methods.units.alpha_dropout import feature_alpha_dropout as feature_alpha_dropout
from thinnet.methods.units.dropout import dropout as dropout
from thinnet.methods.units.gaussian_dropout import gaussian_dropout as gaussian_dropout
