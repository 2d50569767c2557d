"""The dropout of an estimator: a rate for each hidden layer, or a schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

import thinnet.nn
from thinnet.rng import Site
from thinnet.rng.schedules import Schedule
from thinnet.study.design.configuration import DROPOUT, INPUT

AUTO = "auto"
METHODS = (DROPOUT, "GaussianDropout", "UniformDropout", "AlphaDropout", "Jumpout", "BatchwiseDropout")
"""The methods of a study that act on the units of a fully connected layer."""


@dataclass(frozen=True)
class Rates:
    """The rates of the dropout sites.

    Args:
        hidden: one for each hidden layer.
        input: of the inputs.
        schedule: of the hidden layers, instead of `hidden`.
    """

    hidden: tuple[float, ...]
    input: float = 0.0
    schedule: Schedule | None = None

    @property
    def used(self) -> bool:
        """Whether anything is dropped."""
        return self.schedule is not None or self.input > 0 or any(self.hidden)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules of `DropoutRNG`."""
        return {} if self.schedule is None else {"hidden*": self.schedule}

    def at_end(self, step: int) -> float | list[float]:
        """Returns the rate after some steps: one number where all layers have the same."""
        if self.schedule is not None:
            return self.schedule(max(step - 1, 0))
        return self.hidden[0] if len({*self.hidden}) == 1 else list(self.hidden)


def rates_of(owner: str, dropout: Any, input_dropout: Any, layers: int) -> Rates:
    """Returns the rates that the parameters of an estimator ask for.

    Raises:
        ValueError: a rate is not in [0, 1), or a list has another length than there are layers.

    Example:
        >>> rates_of("DropoutClassifier", [0.5, 0.2], 0.0, layers=2).hidden
        (0.5, 0.2)
    """
    first = _rate(owner, "input_dropout", input_dropout)
    if isinstance(dropout, Schedule):
        return Rates((dropout(0),) * layers, first, dropout if layers else None)
    if isinstance(dropout, np.ndarray):
        dropout = dropout.tolist()
    if isinstance(dropout, Sequence) and not isinstance(dropout, str):
        if len(dropout) != layers:
            rule = f"dropout must have one rate for each of the {layers} hidden layers"
            raise ValueError(f"{owner}: {rule}; got {len(dropout)}. Give {layers} rates, or one number for all.")
        return Rates(tuple(_rate(owner, "dropout", each) for each in dropout), first)
    return Rates((_rate(owner, "dropout", dropout),) * layers, first)


def kind_of(owner: str, method: object) -> type[Site]:
    """Returns the class of a method.

    Raises:
        ValueError: the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"{owner}: method must be one of {', '.join(METHODS)}; got {method!r}. Use {DROPOUT!r}.")
    return thinnet.nn.Dropout if method == DROPOUT else getattr(thinnet.nn, str(method))


def input_site(network: Any) -> Site:
    """Returns the dropout site in front of the first layer."""
    return getattr(network, INPUT)


def _rate(owner: str, name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < 1:
        more = ", a list of them, a schedule or 'auto'" if name == "dropout" else ""
        raise ValueError(f"{owner}: {name} must be a rate in [0, 1){more}; got {value!r}. Use 0.2.")
    return float(value)
