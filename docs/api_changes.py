"""Compares the public API with the last tag: `python -m docs.api_changes`. Needs griffe, which the docs site brings."""

import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import griffe

ROOT = Path(__file__).parent.parent
SHOWN = re.compile(r"^::: thinnet\.?(\S*)$", re.MULTILINE)
FACES = sorted(name for page in (ROOT / "docs" / "api").glob("*.md") for name in SHOWN.findall(page.read_text()))


def last_tag() -> str | None:
    """Returns the last tag before this commit; None where there is none."""
    command = ["git", "describe", "--tags", "--abbrev=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def public(package: griffe.Object) -> set[str]:
    """Returns the full names of what the API pages show, and where each is defined."""
    shown: list[Any] = []
    for name in FACES:
        with suppress(KeyError):  # another version has other modules
            face = package[name] if name else package
            shown += face.members.values() if face.is_module else [face]
    members = [member for member in shown if member.name[0] != "_" and (member.is_alias or not member.is_module)]
    return {member.path for member in members} | {
        member.final_target.path for member in members if member.is_alias and _ours(member)
    }


def _ours(alias: griffe.Alias) -> bool:
    return alias.target_path.startswith("thinnet.")


def breaking(old: griffe.Object, new: griffe.Object, declared: str) -> list[str]:
    """Returns one line for each breaking change of a public name that is not declared."""
    names, found = public(old), set()
    for change in griffe.find_breaking_changes(old, new):
        path = change.obj.path
        if path not in declared and any(path == name or path.startswith(f"{name}.") for name in names):
            found.add(f"{path}: {change.kind.value}")
    return sorted(found)


def declared() -> str:
    """Returns the sections on breaking changes of the version that is not released yet."""
    newest = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1]
    return "\n".join(re.findall(r"^### Breaking changes\n(.*?)(?=^### |\Z)", newest, re.MULTILINE | re.DOTALL))


def main() -> int:
    """Prints the changes; returns 1 if one is not declared."""
    tag = last_tag()
    if tag is None:
        print("API: this clone has no tag to compare with. Fetch the tags with git fetch --tags.")
        return 0
    old: Any = griffe.load_git("thinnet", ref=tag, repo=ROOT, search_paths=["src"])
    new: Any = griffe.load("thinnet", search_paths=[str(ROOT / "src")])
    found = breaking(old, new, declared())
    print("\n".join(found) if found else f"API: no undeclared breaking change since {tag}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
