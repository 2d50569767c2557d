"""Checks of arguments that the tools share."""


def check_counts(user: str, least: int = 1, /, **values: object) -> None:
    """Refuses values that are not integers of at least `least`.

    >>> check_counts("sample", n=50)
    """
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            rule = "a positive integer" if least == 1 else f"an integer of at least {least}"
            raise ValueError(f"{user}: {name} must be {rule}; got {value!r}. Leave it out for the default.")


def check_kind(user: str, kind: str | None, *more: str) -> None:
    """Refuses a kind of output that is not "logits", "values", None or one of `more`."""
    kinds = ("logits", "values", *more)
    if kind is not None and kind not in kinds:
        raise ValueError(f"{user}: kind must be one of {', '.join(kinds)}; got {kind!r}. Leave it out to use the shape.")
