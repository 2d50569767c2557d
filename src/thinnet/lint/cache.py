"""What was found in a file stays true while the file, the rules and the linter are the same."""

import json
import os
from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any

from thinnet.lint.rule import Rule

FOLDER = ".thinnet_cache"
MOST = 50_000  # files remembered


class Cache:
    """Outcomes by the content of the file; read at the start, written at the end, and nothing is lost without it.

    Args:
        root: the folder to keep it under, or None to keep nothing.
        rules: the rules that are on.
    """

    def __init__(self, root: Path | None, rules: Sequence[Rule]) -> None:
        self._file = None if root is None else root / FOLDER / f"lint-{_digest(rules)}.json"
        self._known: dict[str, Any] = {}
        try:
            self._known = {} if self._file is None else dict(json.loads(self._file.read_bytes()))
        except (OSError, ValueError, TypeError):  # none yet, or not ours: both are an empty one
            pass
        self._new = False

    def get(self, key: str) -> Any:
        """Returns what was kept, or None; what is asked for stays the longest."""
        found = self._known.pop(key, None)
        if found is not None:
            self._known[key] = found
        return found

    def put(self, key: str, value: object) -> None:
        """Keeps an outcome."""
        self._known[key] = value
        self._new = True

    def save(self) -> None:
        """Writes the cache in one step, if there is anything new; a folder that cannot be written to is left alone."""
        if self._file is None or not self._new:
            return
        kept = dict(list(self._known.items())[-MOST:])
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


def key(data: bytes, suffix: str) -> str:
    """Returns the name of a file's content."""
    return blake2b(data, digest_size=16, person=suffix.encode()).hexdigest()


@cache
def _sources() -> bytes:
    parts = [path.read_bytes() for path in sorted(Path(__file__).parent.rglob("*.py"))]
    return b"\0".join([version("libcst").encode(), *parts])


def _digest(rules: Sequence[Rule]) -> str:
    codes = ",".join(rule.code for rule in rules)
    return blake2b(codes.encode() + b"\0" + _sources(), digest_size=8).hexdigest()
