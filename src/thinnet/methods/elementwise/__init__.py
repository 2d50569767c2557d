"""Methods whose coin decides an element."""
