"""Methods that toss several masks in one step."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
