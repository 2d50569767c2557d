"""One file for each claim; each has a `CLAIM`."""
