"""Finds source files and decodes them."""

import io
import os
import tokenize
from collections.abc import Iterator, Sequence
from pathlib import Path

from thinnet.lint.engine import UnreadableSource
from thinnet.lint.settings import BadInput, Settings

SUFFIXES = (".py", ".md", ".rst", ".ipynb")
# Folders whose name starts with a dot are skipped too.
SKIPPED_FOLDERS = frozenset({"__pycache__", "build", "dist", "node_modules", "site-packages", "venv"})
MAX_BYTES = 4_000_000  # larger files are generated
MAX_NOTEBOOK_BYTES = 100_000_000  # the pictures in it count, its code is small


def find(paths: Sequence[Path], settings: Settings) -> Iterator[Path]:
    """Yields the files to check, in order, each once.

    Args:
        paths: files, which are always taken, and folders, which are searched for sources.
        settings: the excluded files and folders.

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
        folders[:] = sorted(name for name in folders if not (name in SKIPPED_FOLDERS or name.startswith(".")))
        if settings.exclude:
            folders[:] = [name for name in folders if not settings.is_excluded(here / name)]
        yield from (here / name for name in sorted(names) if name.endswith(SUFFIXES))


def decode(data: bytes, suffix: str = "") -> tuple[str, str]:
    """Returns the text of a file with its line ends, and its encoding.

    Raises:
        UnreadableSource: the file is binary, too large, or in another encoding than it declares.
    """
    if len(data) > (MAX_NOTEBOOK_BYTES if suffix == ".ipynb" else MAX_BYTES):
        raise UnreadableSource(f"it has {len(data) / 1e6:.0f} MB")
    if b"\0" in data:
        raise UnreadableSource("it is binary")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), encoding
    except (SyntaxError, UnicodeDecodeError, LookupError):
        raise UnreadableSource("its encoding is not the one it declares") from None
