"""A finding, as it is printed, kept and sent between processes: plain values only."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Edit:
    """Text to put between two offsets of a file."""

    start: int
    stop: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One finding; lines and columns count from 1, and the end is the first column that does not belong to it."""

    line: int
    column: int
    end_line: int
    end_column: int
    code: str
    message: str
    edits: tuple[Edit, ...] = ()
    safe: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns the finding as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Finding":
        """Returns the finding that `to_json` was made of."""
        edits = tuple(Edit(**edit) for edit in values["edits"])
        return cls(**{name: value for name, value in values.items() if name != "edits"}, edits=edits)
