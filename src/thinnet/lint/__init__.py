"""Finds dropout mistakes in source files, without running them and without importing torch."""

from thinnet.lint.pages import table as table
