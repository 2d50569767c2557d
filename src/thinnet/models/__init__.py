"""A whole model: what is random in it, found by watching it run."""
