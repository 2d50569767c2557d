"""Builds the docs site: `python -m docs.site`. It opens without a network: `python -m http.server -d build/site`.

The pages are the Markdown files of docs/, as a code host shows them. A link that leaves docs/ has no page to lead to, so the
file that it names becomes a page of the site. `build/pages` holds all pages, and Zensical makes `build/site` of them.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES, SITE = ROOT / "build" / "pages", ROOT / "build" / "site"
SHOWN = {".png", ".svg", ".html", ".css", ".js"}  # a browser shows these as they are
OTHER_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")  # in the root of the repository
FENCE = re.compile(r"^( *```.*?^ *```)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)  # a code host shows the link next to it
LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)#\s]+)")


def sources() -> dict[Path, str]:
    """Returns the path in the site of every page and picture, by its path in the repository."""
    found = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in SHOWN | {".md"}]
    return {path: path.relative_to(ROOT / "docs").as_posix() for path in found} | {ROOT / name: name for name in OTHER_PAGES}


def place(path: Path) -> str:
    """Returns the path in the site of a file that is not in docs/: a page of its own, or the file if a browser shows it."""
    name = f"source/{path.relative_to(ROOT).as_posix()}"
    return name if path.suffix in SHOWN else f"{name}.md"


def listing(path: Path) -> str:
    """Returns the page of a file, or of all Python files of a folder."""
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    blocks = []
    for file in files:
        language = {".py": "python", ".md": "markdown", ".json": "json"}.get(file.suffix, "text")
        blocks.append(f"## `{file.name}`\n\n````{language}\n{file.read_text(encoding='utf-8')}\n````\n")
    return f"---\nsearch:\n  exclude: true\n---\n\n# `{path.relative_to(ROOT).as_posix()}`\n\n" + "\n".join(blocks)


def with_links(page: Path, places: dict[Path, str]) -> str:
    """Returns the text of a page as in the site: with its links, and the files that it shows.

    Adds to `places` what the page links to outside of docs/.
    """
    here = Path(places[page]).parent

    def link(match: re.Match[str]) -> str:
        target = (page.parent / match[2]).resolve()
        if not target.exists():
            return match[0]  # Zensical reports it
        where = places.setdefault(target, place(target))
        return match[1] + Path(os.path.relpath(where, here)).as_posix()

    parts = FENCE.split(page.read_text(encoding="utf-8"))
    text = "".join(part if FENCE.match(part) else LINK.sub(link, part) for part in parts)
    return FILE.sub(lambda match: f"```python\n{(ROOT / match[1]).read_text(encoding='utf-8')}```", text)


def stage() -> None:
    """Writes `build/pages`."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = sources()
    places = dict(pages)
    for path, where in pages.items():
        write(where, with_links(path, places) if path.suffix == ".md" else path)
    for path in places.keys() - pages.keys():
        write(places[path], path if path.suffix in SHOWN else listing(path))


def write(where: str, content: str | Path) -> None:
    """Writes a file of `build/pages`."""
    file = PAGES / where
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, file)
    else:
        file.write_text(content, encoding="utf-8")


def main() -> int:
    """Builds the site; returns the exit status of Zensical, which is not 0 if a page has a broken link."""
    stage()
    shutil.rmtree(SITE, ignore_errors=True)
    command = [sys.executable, "-m", "zensical", "build", "--config-file", "mkdocs.yml", "--strict", "--clean"]
    return subprocess.run(command, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
