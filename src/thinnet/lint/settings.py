"""Which rules look at which files: `[tool.thinnet.lint]` in pyproject.toml, and the options on top of it."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from thinnet.lint.rule import Rule
from thinnet.lint.rules import REGISTRY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

EVERYTHING = "THN"
TABLE = "[tool.thinnet.lint]"


class BadInput(Exception):
    """What the person can mend, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """What to do, from the file alone.

    Args:
        root: the folder that patterns start from: that of pyproject.toml.
        select: prefixes of codes to look for.
        ignore: prefixes of codes to leave out; the longer prefix wins over the shorter.
        exclude: patterns of files and folders to pass over.
        preview: whether rules in preview are on.
        per_file_ignores: prefixes of codes to leave out, by a pattern of files.
    """

    root: Path
    select: Sequence[str] = (EVERYTHING,)
    ignore: Sequence[str] = ()
    exclude: Sequence[str] = ()
    preview: bool = False
    per_file_ignores: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = {rule.code for rule in REGISTRY}
        for code in [*self.select, *self.ignore, *(code for codes in self.per_file_ignores.values() for code in codes)]:
            if not any(one.startswith(code) for one in known):
                raise BadInput(f"lint: a code must start that of a rule; got {code!r}. `--explain THN` lists them.")
        hidden = sorted(rule.code for rule in REGISTRY if rule.preview and rule.code in self.select)
        if hidden and not self.preview:
            raise BadInput(f"lint: {hidden[0]} is in preview. Add --preview.")

    def rules(self) -> list[Rule]:
        """Returns the rules that are on."""
        return [rule for rule in REGISTRY if self._chosen(rule.code) and (self.preview or not rule.preview)]

    def _chosen(self, code: str) -> bool:
        return longest(self.select, code) > longest(self.ignore, code)

    def is_excluded(self, path: Path) -> bool:
        """Says whether a file or folder is to be passed over."""
        return any(self._matches(path, pattern) for pattern in self.exclude)

    def ignored_in(self, path: Path) -> list[str]:
        """Returns the prefixes of codes that are left out in a file."""
        return [code for pattern, codes in self.per_file_ignores.items() if self._matches(path, pattern) for code in codes]

    def _matches(self, path: Path, pattern: str) -> bool:
        path = path.absolute()
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        folders = [inside, *inside.parents][:-1]
        return any(fnmatch(part.as_posix(), pattern.rstrip("/")) or fnmatch(part.name, pattern) for part in folders)


def longest(prefixes: Iterable[str], code: str) -> int:
    """Returns the length of the longest prefix that a code has; 0 if it has none."""
    return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=0)


def load(start: Path, options: Mapping[str, Any]) -> Settings:
    """Reads the nearest pyproject.toml upwards and puts the options over it.

    Args:
        start: where to begin.
        options: settings that were given on the command line; None is not given.

    Raises:
        BadInput: a setting does not exist or has the wrong type.
    """
    file = next(
        (folder / "pyproject.toml" for folder in (start, *start.parents) if (folder / "pyproject.toml").is_file()), None
    )
    values = {} if file is None else _checked(file)
    given = {name: value for name, value in options.items() if value is not None}
    return Settings(
        root=start if file is None else file.parent, **{name.replace("-", "_"): v for name, v in (values | given).items()}
    )


def _checked(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"lint: {file} cannot be read: {error}") from None
    for name in ("tool", "thinnet", "lint"):
        values = values.get(name, {})
    for name, value in values.items():
        if name not in VALID:
            raise BadInput(f"lint: {TABLE} must have only {', '.join(VALID)}; got {name!r} in {file}.")
        if not VALID[name](value):
            raise BadInput(f"lint: {name} in {TABLE} has the wrong type: {value!r} in {file}.")
    return values


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


VALID = {
    "select": _words,
    "ignore": _words,
    "exclude": _words,
    "preview": lambda value: isinstance(value, bool),
    "per-file-ignores": lambda value: isinstance(value, dict) and all(_words(codes) for codes in value.values()),
}
