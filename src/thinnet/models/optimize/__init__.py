"""Fuses dropout with adjacent operations: `optimize`."""
