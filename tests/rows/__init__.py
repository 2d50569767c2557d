"""One row a method that turns a tensor into a tensor: the laws hold for every row. The others name the tests of their own."""

from rows import adaptive, attention, features, graphs, learned, moments, paths, recurrent, several, tokens, units, weights

_FOLDERS = (units, adaptive, learned, features, weights, recurrent, attention, paths, tokens, graphs, several, moments)

ROWS = tuple(row for folder in _FOLDERS for row in folder.ROWS)
OWN_TESTS = {name: path for folder in _FOLDERS for name, path in folder.OWN_TESTS.items()}
