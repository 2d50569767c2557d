"""What dropout costs in one training step of a model, and what the alternatives of thinnet would gain."""
