"""Monte-Carlo dropout: draws of a prediction and their statistics."""
