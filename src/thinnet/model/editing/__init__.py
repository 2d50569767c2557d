"""Edits of a whole model: dropout put in, changed, pinned and taken out, each time with a diff and an undo."""
