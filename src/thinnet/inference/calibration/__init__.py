"""Calibration of predicted probabilities and intervals, before and after a fit on validation data."""
