"""Whether what is predicted can be taken at its word, before and after a fit on validation data."""
