"""Methods for attention: its weights, keys and heads."""
