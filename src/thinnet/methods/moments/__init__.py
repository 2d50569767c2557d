"""Closed forms: what dropout does to a network on average, without a coin."""
