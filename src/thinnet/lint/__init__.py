"""Finds dropout mistakes in source files without running them and without importing torch."""

from thinnet.lint.documentation import table as table
