"""Methods whose coin decides a branch or a whole layer."""
