"""The module form of every method; those that PyTorch has too take its classes' places."""

from thinnet.methods.features.spatial_dropout import Dropout1d as Dropout1d
from thinnet.methods.features.spatial_dropout import Dropout2d as Dropout2d
from thinnet.methods.features.spatial_dropout import Dropout3d as Dropout3d
from thinnet.methods.units.alpha_dropout import AlphaDropout as AlphaDropout
from thinnet.methods.units.alpha_dropout import FeatureAlphaDropout as FeatureAlphaDropout
from thinnet.methods.units.dropout import Dropout as Dropout
from thinnet.methods.units.gaussian_dropout import GaussianDropout as GaussianDropout
