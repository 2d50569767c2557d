"""How much a diagnosis takes: samples, units, orders, pairs, draws."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Amounts:
    """The numbers that `diagnose` was given, checked; it says what each is.

    Raises:
        ValueError: one is no positive integer, or there are fewer than three samples.
    """

    max_samples: int
    max_units: int
    orders: int
    pairs: int
    draws: int
    minibatch: int
    batch_size: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"diagnose: {field.name} must be a positive integer; got {value!r}.")
        if self.max_samples < 3:
            raise ValueError(f"diagnose: max_samples must be at least 3; got {self.max_samples}. Use 1000.")
