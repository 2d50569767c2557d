"""Rows of the methods whose coin decides an element."""

from rows.row import Row
from thinnet.methods.elementwise import METHODS

FLAT = ((6,), (5, 7), (3, 130), (2, 3, 4, 5))
BELOW_ONE = dict(edges=(0.0,), outside=(-0.1, 1.0, 1 - 1e-6, float("nan"), True, "0.5"))
_by_name = {method.name: method for method in METHODS}

ROWS = (
    Row(_by_name["Dropout"], FLAT),
    Row(
        _by_name["BatchwiseDropout"], ((5, 7), (3, 131), (2, 3, 4, 5)), kept=160, compiles=False
    ),  # numbers of which no share is whole
    Row(_by_name["BatchwiseDropout"], FLAT[1:], {"count": "bernoulli", "axis": 1}, kept=160),
    Row(_by_name["AlphaDropout"], FLAT),
    Row(_by_name["FeatureAlphaDropout"], ((4, 8, 5), (2, 130, 1, 2))),
    Row(_by_name["GaussianDropout"], FLAT, **BELOW_ONE),
    Row(_by_name["UniformDropout"], FLAT, **BELOW_ONE),
)

OWN_TESTS: dict[str, str] = {}
