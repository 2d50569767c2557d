"""Methods whose coin decides a word, a token or a patch."""

from thinnet.facts import Method

METHODS: tuple[Method, ...] = ()
