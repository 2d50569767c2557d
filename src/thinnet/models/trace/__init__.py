"""The one observer of forward passes: `trace` runs a model and returns a record of what it did."""

from thinnet.models.trace.observe import Trace as Trace
from thinnet.models.trace.observe import trace as trace
