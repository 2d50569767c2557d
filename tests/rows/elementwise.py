"""Rows of the methods whose coin decides an element."""

from rows.row import METHODS, Row

FLAT = ((6,), (5, 7), (3, 130), (2, 3, 4, 5))
BELOW_ONE = dict(edges=(0.0,), outside=(-0.1, 1.0, 1 - 1e-6, float("nan"), True, "0.5"))

ROWS = (
    Row(METHODS["Dropout"], FLAT),
    Row(
        METHODS["BatchwiseDropout"], ((5, 7), (3, 131), (2, 3, 4, 5)), kept=160, compiles=False
    ),  # numbers of which no share is whole
    Row(METHODS["BatchwiseDropout"], FLAT[1:], {"count": "bernoulli", "axis": 1}, kept=160),
    Row(METHODS["AlphaDropout"], FLAT),
    Row(METHODS["FeatureAlphaDropout"], ((4, 8, 5), (2, 130, 1, 2))),
    Row(METHODS["GaussianDropout"], FLAT, **BELOW_ONE),
    Row(METHODS["UniformDropout"], FLAT, **BELOW_ONE),
)

OWN_TESTS: dict[str, str] = {}
