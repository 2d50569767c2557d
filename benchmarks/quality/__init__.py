"""Whether the coins are good ones: dieharder, and the correlation of neighbours, along every coordinate of a coin's name."""
