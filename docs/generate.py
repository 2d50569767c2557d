"""Generates code and documentation: `python -m docs.generate [--check]`.

First the public modules and the registry, then the parts of the Markdown files that stand between
`<!-- generated: NAME -->` and `<!-- end -->`, the gallery, and what the playground has from Python. `--check` writes nothing
and fails if anything is out of date.
"""

import re
import sys
from pathlib import Path

from docs import faces

ROOT = Path(__file__).parent.parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(?:(?!<!-- ).)*(<!-- end -->)", re.DOTALL)


def update_pages(check: bool) -> list[str]:
    """Writes the Markdown files and pictures that are out of date, unless it only checks; returns their names."""
    from docs import gallery, parts, playground, site_methods  # they need the registry, which `faces` generates

    behind = site_methods.update(check) + gallery.update(check) + playground.update(check)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        new = PART.sub(lambda match: f"{match[1]}{parts.PARTS[match[2]]()}\n{match[3]}", text)
        if new != text:
            behind.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new, encoding="utf-8")
    return behind


def main(check: bool) -> int:
    """Writes or checks everything; returns the exit status."""
    behind = faces.update(check)
    if not (check and behind):  # the pages of an old registry say nothing
        behind += update_pages(check)
    if behind:
        print(f"{'out of date, run `make docs`' if check else 'written'}: {', '.join(behind)}")
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
