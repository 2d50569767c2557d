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

REGISTRY: tuple[Method, ...] = (
    *units.METHODS,
    *adaptive.METHODS,
    *learned.METHODS,
    *features.METHODS,
    *weights.METHODS,
    *recurrent.METHODS,
    *attention.METHODS,
    *paths.METHODS,
    *tokens.METHODS,
    *graphs.METHODS,
    *several.METHODS,
    *moments.METHODS,
)
