"""Named draws of a prediction, and what can be read off them."""
