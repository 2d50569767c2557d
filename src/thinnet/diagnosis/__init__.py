"""Measures what dropout did to a trained network."""
