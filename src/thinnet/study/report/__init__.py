"""A result as a page, figures, tables, JSON and text."""
