"""The playground: one page that shows dropout at work, built from `playground/`, and the command that opens it."""
