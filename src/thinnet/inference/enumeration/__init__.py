"""Exact averages over all sub-networks of a small model."""
