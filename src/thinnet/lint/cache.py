"""Caches the results of files. An entry is valid while the file, the rules and the linter are unchanged."""

import json
import os
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thinnet.lint.rule import LintRule

FOLDER = ".thinnet_cache"
MAX_ENTRIES = 50_000


class Cache:
    """Results by the content of the file. It is read at the start and written at the end.

    Args:
        root: the folder that holds the cache folder; None keeps nothing.
        rules: the rules that are on.
        preview: findings that are less certain are reported too.
    """

    def __init__(self, root: Path | None, rules: Sequence[LintRule], preview: bool = False) -> None:
        self._file = None if root is None else root / FOLDER / f"lint-{_digest(rules, preview)}.json"
        self._entries: dict[str, Any] = {}
        try:
            self._entries = {} if self._file is None else dict(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, TypeError):  # a missing or broken cache is an empty one
            pass
        self._changed = False

    def get(self, key: str) -> Any:
        """Returns an entry, or None. Entries in use are evicted last."""
        found = self._entries.pop(key, None)
        if found is not None:
            self._entries[key] = found
        return found

    def put(self, key: str, value: object) -> None:
        """Adds an entry."""
        self._entries[key] = value
        self._changed = True

    def save(self) -> None:
        """Writes the cache atomically if it changed. A folder that is not writable is ignored."""
        if self._file is None or not self._changed:
            return
        kept = dict(list(self._entries.items())[-MAX_ENTRIES:])
        partial = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(exist_ok=True)
            (self._file.parent / ".gitignore").write_text("*\n")
            for old in self._file.parent.glob("lint-*.json"):
                old.unlink()
            partial.write_text(json.dumps(kept, separators=(",", ":")))
            os.replace(partial, self._file)
        except OSError:
            pass


def content_key(data: bytes, suffix: str) -> str:
    """Returns the cache key of a file's content."""
    return blake2b(data, digest_size=16, person=suffix.encode()).hexdigest()


@cache
def _sources() -> bytes:
    package = Path(__file__).parents[1]
    paths = [*sorted((package / "lint").rglob("*.py")), package / "report" / "findings.py"]
    parts = [path.read_bytes() for path in paths]
    return b"\0".join([version("libcst").encode(), *parts])


def _digest(rules: Sequence[LintRule], preview: bool) -> str:
    codes = ",".join([str(preview), *(rule.code for rule in rules)])
    return blake2b(codes.encode() + b"\0" + _sources(), digest_size=8).hexdigest()
