"""One file is one method; `registry` lists them all."""
