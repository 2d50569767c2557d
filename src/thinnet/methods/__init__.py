"""One file is one method. The registry: the methods of every folder, with their modules, stateless forms and facts."""

from thinnet.methods import features, units

REGISTRY = (
    *units.METHODS,
    *features.METHODS,
)
