"""The GPU path, in Triton. Nothing in here is imported before the first GPU tensor."""
