"""Trials on one process or many machines: the database that they share, and what starts workers."""
