"""Measurements of quality: of the random bits, of inference, of the verdicts of a study, and of thinned training."""
