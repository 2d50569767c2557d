"""Drop rates that modules declare in an attribute."""

from typing import Any

ATTENTION = ("att", "drop")  # both parts are in the name of an attribute that holds a rate of attention weights
OWN = ("p", "prob")  # attributes that hold the rate of a module that is dropout by its name
RATES = ("drop_prob", "dropout_p", "dropout", "drop_rate", "dropout_prob", "attention_dropout", "layerdrop")
NAMED = ("drop", "stochasticdepth", "zoneout", "cutout")


def rate(module: Any) -> float | None:
    """Returns the drop rate that a module declares; None without one.

    >>> from torch import nn
    >>> rate(nn.Dropout(0.3)), rate(nn.LSTM(2, 2, num_layers=2, dropout=0.5)), rate(nn.Linear(2, 2))
    (0.3, 0.5, None)
    """
    if module is None:
        return None
    named = is_dropout(module)
    for attribute in (*OWN, *RATES) if named else RATES:
        value = getattr(module, attribute, None)
        if isinstance(value, float) or (named and isinstance(value, int) and not isinstance(value, bool)):
            return float(value) if 0 <= value <= 1 else None
    return None


def is_dropout(module: Any) -> bool:
    """Returns whether the name of a module's class says that it drops something."""
    return any(part in kind.__name__.lower() for kind in type(module).__mro__ for part in NAMED)


def attention_rates(holder: Any) -> dict[str, float]:
    """Returns the drop rates of attention weights that a module, or a configuration, declares in attributes.

    >>> from types import SimpleNamespace
    >>> attention_rates(SimpleNamespace(attention_dropout=0.1, attn_pdrop=0.0, dropout=0.2))
    {'attention_dropout': 0.1}
    """
    held = getattr(holder, "__dict__", {}).items()
    named = {name: value for name, value in held if all(part in name.lower() for part in ATTENTION)}
    return {name: value for name, value in named.items() if isinstance(value, float) and 0 < value <= 1}
