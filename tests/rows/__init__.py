"""One row a method that turns a tensor into a tensor: the laws hold for every row. The others name the tests of their own."""

from rows import features, units

ROWS = (*units.ROWS, *features.ROWS)
OWN_TESTS: dict[str, str] = {}
