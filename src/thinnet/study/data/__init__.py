"""From a path or a name to training, validation and test sets."""
