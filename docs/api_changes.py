"""Compares the public API with the last tag: `python -m docs.api_changes`. Needs griffe, which the docs site brings."""

import re
import subprocess
import sys
from pathlib import Path

import griffe

ROOT = Path(__file__).parent.parent
PRIVATE = ("thinnet.ops", "thinnet.cli", "thinnet.doctor", "thinnet.pytest_plugin")


def last_tag() -> str | None:
    """Returns the last tag before this commit; None where there is none."""
    command = ["git", "describe", "--tags", "--abbrev=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or None


def breaking(old: griffe.Object, new: griffe.Object, declared: str) -> list[str]:
    """Returns one line for each breaking change of a public name that is not declared."""
    found = []
    for change in griffe.find_breaking_changes(old, new):
        path = change.obj.path
        owner = path.partition("(")[0]
        if not owner.startswith(PRIVATE) and owner not in declared:
            found.append(f"{change.obj.relative_filepath}: {owner}: {change.kind.value}")
    return sorted(set(found))


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
    old = griffe.load_git("thinnet", ref=tag, repo=ROOT, search_paths=["src"])
    new = griffe.load("thinnet", search_paths=[str(ROOT / "src")])
    found = breaking(old, new, declared())
    print("\n".join(found) if found else f"API: no undeclared breaking change since {tag}.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
