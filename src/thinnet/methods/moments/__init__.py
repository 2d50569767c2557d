"""Closed forms: what dropout does to a network on average, without a coin."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
