"""One row a method: what the laws need to know of it beyond its facts. A new method adds a row here."""

from dataclasses import dataclass, field

from thinnet import methods
from thinnet.methods import REGISTRY, Method


@dataclass(frozen=True)
class Row:
    """A method, the shapes it is tried on (batch first), and rates inside and outside its domain."""

    method: Method
    shapes: tuple[tuple[int, ...], ...]
    rates: tuple[float, ...] = (0.1, 0.5, 0.85)
    edges: tuple[float, ...] = (0.0, 1.0)
    outside: tuple[object, ...] = field(default=(-0.1, 1.5, float("nan"), True, "0.5", 40))

    @property
    def name(self) -> str:
        return self.method.module.__name__


FLAT = ((6,), (5, 7), (3, 130), (2, 3, 4, 5))
_by_name = {method.module.__name__: method for method in REGISTRY}

ROWS = (
    Row(_by_name["Dropout"], FLAT),
    Row(_by_name["Dropout1d"], ((4, 8, 5), (3, 130, 2))),
    Row(_by_name["Dropout2d"], ((4, 8, 5, 3), (2, 130, 1, 2))),
    Row(_by_name["Dropout3d"], ((4, 8, 2, 2, 3), (2, 130, 1, 2, 1))),
    Row(_by_name["AlphaDropout"], FLAT),
    Row(_by_name["FeatureAlphaDropout"], ((4, 8, 5), (2, 130, 1, 2))),
    Row(_by_name["GaussianDropout"], FLAT, edges=(0.0,), outside=(-0.1, 1.0, 1 - 1e-6, float("nan"), True, "0.5")),
)

assert len(ROWS) == len(methods.REGISTRY), "every method of the registry needs its row"
