"""Finds dropout mistakes: runs a model in both modes and checks what it observes against rules."""
