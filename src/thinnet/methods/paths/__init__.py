"""Methods whose coin decides a branch or a whole layer."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
