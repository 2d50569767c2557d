"""Deterministic forms of a model with dropout: one pass instead of many draws."""
