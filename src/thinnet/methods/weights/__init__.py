"""Methods whose coin decides a weight."""
