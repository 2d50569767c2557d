"""The dropout rate as a function of the step."""

from thinnet.rng.placing import DepthWise as DepthWise
from thinnet.rng.placing import linear_rates as linear_rates
from thinnet.rng.schedule_plot import plot as plot
from thinnet.rng.schedules import Annealed as Annealed
from thinnet.rng.schedules import Constant as Constant
from thinnet.rng.schedules import Cosine as Cosine
from thinnet.rng.schedules import Curriculum as Curriculum
from thinnet.rng.schedules import Early as Early
from thinnet.rng.schedules import Expm4t as Expm4t
from thinnet.rng.schedules import FlatCos as FlatCos
from thinnet.rng.schedules import Late as Late
from thinnet.rng.schedules import Linear as Linear
from thinnet.rng.schedules import Piecewise as Piecewise
from thinnet.rng.schedules import Schedule as Schedule
