"""All sub-networks of a small network, and their averages side by side."""
