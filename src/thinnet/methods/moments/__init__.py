"""Closed forms: the mean effect of dropout on a network, without sampling."""
