"""Which files there are, and what they say."""

import io
import os
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from thinnet.lint.engine import Unreadable
from thinnet.lint.settings import BadInput, Settings

SUFFIXES = (".py", ".md", ".rst")
NOT_OURS = frozenset(
    {"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"}
)  # and all that starts with a dot
HUGE = 4_000_000  # bytes; no person wrote that


def find(paths: Sequence[Path], settings: Settings) -> Iterator[Path]:
    """Yields the files to look at, in order, each once.

    Args:
        paths: files, taken as they are, and folders, searched for sources.
        settings: what to pass over.

    Raises:
        BadInput: a path does not exist.
    """
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise BadInput(f"lint: no such file or folder: {path}")
        for file in [path] if path.is_file() else _walk(path, settings):
            if file not in seen and not settings.is_excluded(file):
                seen.add(file)
                yield file


def _walk(folder: Path, settings: Settings) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = sorted(name for name in folders if not (name in NOT_OURS or name.startswith(".")))
        if settings.exclude:
            folders[:] = [name for name in folders if not settings.is_excluded(here / name)]
        yield from (here / name for name in sorted(names) if name.endswith(SUFFIXES))


def decode(data: bytes) -> tuple[str, str]:
    """Returns a file's text, line ends as they are, and its encoding.

    Raises:
        Unreadable: it is no text, or larger than anyone writes.
    """
    if len(data) > HUGE:
        raise Unreadable(f"it has {len(data) / 1e6:.0f} MB")
    if b"\0" in data:
        raise Unreadable("it is binary")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), encoding
    except (SyntaxError, UnicodeDecodeError, LookupError):
        raise Unreadable("its encoding is not what it says") from None
