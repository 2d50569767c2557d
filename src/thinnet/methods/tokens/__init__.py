"""Methods that drop a word, a token or a patch."""
