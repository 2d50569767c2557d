"""The coins of a model on, and nothing else of it."""
