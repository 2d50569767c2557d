"""Dropped work is not done: chains of units and channels, samples of a branch, heads, tokens, layers."""
