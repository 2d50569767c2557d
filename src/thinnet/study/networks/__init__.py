"""Built-in problems as files like those of a user: each defines `model()` and `data()`."""
