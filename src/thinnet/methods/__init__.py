"""One file is one method. The registry: the methods of every folder, with their modules, stateless forms and facts."""

from thinnet.facts import Method
from thinnet.methods import (
    adaptive,
    attention,
    features,
    graphs,
    learned,
    moments,
    paths,
    recurrent,
    several,
    tokens,
    units,
    weights,
)

FOLDERS: dict[str, tuple[Method, ...]] = {
    "units": units.METHODS,
    "adaptive": adaptive.METHODS,
    "learned": learned.METHODS,
    "features": features.METHODS,
    "weights": weights.METHODS,
    "recurrent": recurrent.METHODS,
    "attention": attention.METHODS,
    "paths": paths.METHODS,
    "tokens": tokens.METHODS,
    "graphs": graphs.METHODS,
    "several": several.METHODS,
    "moments": moments.METHODS,
}
REGISTRY = tuple(method for methods in FOLDERS.values() for method in methods)
