"""`recommend`: from a network and its data to a short list of methods, each with a source."""
