"""One file is one method. The registry: the methods of every folder, with their modules, stateless forms and facts."""

from thinnet.methods import (
    adaptive,
    attention,
    elementwise,
    graphs,
    learned,
    losses,
    moments,
    recurrent,
    residual,
    spatial,
    tokens,
    weights,
)
from thinnet.methods.facts import Method

FOLDERS: dict[str, tuple[Method, ...]] = {
    "elementwise": elementwise.METHODS,
    "adaptive": adaptive.METHODS,
    "learned": learned.METHODS,
    "spatial": spatial.METHODS,
    "weights": weights.METHODS,
    "recurrent": recurrent.METHODS,
    "attention": attention.METHODS,
    "residual": residual.METHODS,
    "tokens": tokens.METHODS,
    "graphs": graphs.METHODS,
    "losses": losses.METHODS,
    "moments": moments.METHODS,
}
REGISTRY = tuple(method for methods in FOLDERS.values() for method in methods)
