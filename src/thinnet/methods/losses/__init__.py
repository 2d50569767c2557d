"""Losses that use several masks for each sample."""
