"""The toss on a GPU, in Triton. Nothing in here is imported before a tensor on a GPU is tossed."""
