"""Methods whose coin decides a weight."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
