"""Methods that drop edges or nodes of a graph."""
