"""The settings: `[tool.thinnet.lint]` in pyproject.toml, and the command-line options that override it."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from thinnet.lint.rule import LintRule
from thinnet.lint.rules import REGISTRY

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

ALL_RULES = "THN"
TABLE = "[tool.thinnet.lint]"


class BadInput(Exception):
    """A mistake in the command line or the settings, in one sentence."""


@dataclass(frozen=True)
class Settings:
    """The rules to apply and the files to skip.

    Args:
        root: the folder of pyproject.toml. Patterns are relative to it.
        select: the rules to apply, as prefixes of codes.
        ignore: the rules to leave out, as prefixes of codes. A longer prefix wins over a shorter one.
        exclude: patterns of files and folders to skip.
        preview: also apply the rules in preview.
        per_file_ignores: the rules to leave out in the files that match a pattern.
    """

    root: Path
    select: Sequence[str] = (ALL_RULES,)
    ignore: Sequence[str] = ()
    exclude: Sequence[str] = ()
    preview: bool = False
    per_file_ignores: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = [rule.code for rule in REGISTRY]
        for code in [*self.select, *self.ignore, *(code for codes in self.per_file_ignores.values() for code in codes)]:
            if not any(one.startswith(code) for one in known):
                raise BadInput(f"lint: a rule must be given by its code or a prefix; got {code!r}. `--explain THN` lists them.")
        hidden = sorted(rule.code for rule in REGISTRY if rule.preview and rule.code in self.select)
        if hidden and not self.preview:
            raise BadInput(f"lint: {hidden[0]} is in preview. Add --preview.")

    def rules(self) -> list[LintRule]:
        """Returns the rules to apply."""
        return [rule for rule in REGISTRY if self._is_selected(rule.code) and (self.preview or not rule.preview)]

    def _is_selected(self, code: str) -> bool:
        return longest_prefix(self.select, code) > longest_prefix(self.ignore, code)

    def is_excluded(self, path: Path) -> bool:
        """Returns whether to skip a file or folder."""
        return any(self._matches(path, pattern) for pattern in self.exclude)

    def ignored_in(self, path: Path) -> list[str]:
        """Returns the prefixes of the codes that are ignored in a file."""
        return [code for pattern, codes in self.per_file_ignores.items() if self._matches(path, pattern) for code in codes]

    def _matches(self, path: Path, pattern: str) -> bool:
        path = path.absolute()
        inside = path.relative_to(self.root) if path.is_relative_to(self.root) else path
        folders = [inside, *inside.parents][:-1]
        return any(fnmatch(part.as_posix(), pattern.rstrip("/")) or fnmatch(part.name, pattern) for part in folders)


def longest_prefix(prefixes: Iterable[str], code: str) -> int:
    """Returns the length of the longest prefix of a code; 0 if there is none."""
    return max((len(prefix) for prefix in prefixes if code.startswith(prefix)), default=0)


def load(start: Path, options: Mapping[str, Any]) -> Settings:
    """Reads the settings of the nearest pyproject.toml in a folder or its parents, and applies the options.

    Args:
        start: the folder to start from.
        options: settings from the command line; None if not given.

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


def _is_word_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


VALID = {
    "select": _is_word_list,
    "ignore": _is_word_list,
    "exclude": _is_word_list,
    "preview": lambda value: isinstance(value, bool),
    "per-file-ignores": lambda value: isinstance(value, dict) and all(_is_word_list(codes) for codes in value.values()),
}
