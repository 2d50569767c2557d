"""The errors that a command shows as one sentence, without a traceback."""


class Mistake(ValueError):
    """An error in the command line, in the data or in the user's code. The message says how to correct it."""
