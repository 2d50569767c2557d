"""Drop rates that modules declare in an attribute."""

from typing import Any

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
    named = any(part in kind.__name__.lower() for kind in type(module).__mro__ for part in NAMED)
    for attribute in ("p", *RATES) if named else RATES:
        value = getattr(module, attribute, None)
        if isinstance(value, float) or (named and isinstance(value, int) and not isinstance(value, bool)):
            return float(value) if 0 <= value <= 1 else None
    return None
