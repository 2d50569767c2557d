"""Methods whose coin decides an edge or a node of a graph."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
