"""Methods whose coin decides an edge or a node of a graph."""
