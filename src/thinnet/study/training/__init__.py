"""One trial: a network, its edit, its training, and its weights."""
