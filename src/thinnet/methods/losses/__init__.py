"""Methods that toss several masks in one step."""
