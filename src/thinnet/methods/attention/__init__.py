"""Methods for attention: its weights, keys and heads."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
