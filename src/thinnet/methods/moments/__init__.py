"""Closed forms: what dropout does to a network on average, without a coin."""

from thinnet.methods.facts import Method
from thinnet.methods.moments import fast_dropout, propagate

METHODS: tuple[Method, ...] = (
    Method(fast_dropout.FACTS, fast_dropout.FastDropout, fast_dropout.fast_dropout),
    Method(propagate.FACTS, None, propagate.propagate),
)
