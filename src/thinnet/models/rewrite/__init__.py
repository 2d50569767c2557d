"""The one place that replaces what a module computes: its methods, the functions it calls, its children and its hooks."""
