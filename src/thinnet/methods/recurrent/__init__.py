"""Methods for the time steps of recurrent networks."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
