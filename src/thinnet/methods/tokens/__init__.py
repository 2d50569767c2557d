"""Methods whose coin decides a word, a token or a patch."""
