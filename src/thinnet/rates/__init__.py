"""A rate: one check, one count, and its schedules: the rate as a function of the step."""

from thinnet.rates.placing import DepthWise as DepthWise
from thinnet.rates.placing import linear_rates as linear_rates
from thinnet.rates.plot import plot as plot
from thinnet.rates.rate import RESOLUTION as RESOLUTION
from thinnet.rates.rate import check as check
from thinnet.rates.rate import count as count
from thinnet.rates.rate import tensor as tensor
from thinnet.rates.schedules import Annealed as Annealed
from thinnet.rates.schedules import Constant as Constant
from thinnet.rates.schedules import Cosine as Cosine
from thinnet.rates.schedules import Curriculum as Curriculum
from thinnet.rates.schedules import Early as Early
from thinnet.rates.schedules import Late as Late
from thinnet.rates.schedules import Linear as Linear
from thinnet.rates.schedules import Piecewise as Piecewise
from thinnet.rates.schedules import Schedule as Schedule
