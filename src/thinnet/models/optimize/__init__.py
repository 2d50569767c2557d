"""Replaces dropout and its neighbours by one pass: `optimize`."""
