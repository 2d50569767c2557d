"""Methods whose rates follow the network: its activations, its weights, or how much a unit matters."""
