"""Writes the generated parts of the documentation: `python -m docs.generate [--check]`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Methods come from the facts that they declare, figures from
benchmarks/results. With `--check` nothing is written, and a part that is behind is an error.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import tables
from thinnet.methods import REGISTRY

ROOT = Path(__file__).parent.parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(\n<!-- end -->)", re.DOTALL)


def methods() -> str:
    """Returns one row a method, from its facts."""
    rows = []
    for method in REGISTRY:
        facts = method.facts
        places = (("nn", method.module), ("functional", method.function))
        names = ", ".join(f"`{place}.{thing.__name__}`" for place, thing in places if thing is not None)
        rows.append([names, facts.summary, facts.grain, facts.domain, f"{facts.place}; {facts.default}", facts.paper])
    return tables.table(["method", "what it does", "grain", "p in", "where, and the rate to start with", "paper"], rows)


PARTS: dict[str, Callable[[], str]] = {"methods": methods, **tables.TABLES}


def render(text: str) -> str:
    """Returns the text with its generated parts made anew."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}{match[3]}", text)


def main(check: bool) -> int:
    """Writes, or checks, every Markdown file; returns the exit status."""
    behind = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text()
        new = render(text)
        if new != text:
            behind.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new)
    if behind:
        print(f"{'behind, run `make docs`' if check else 'written'}: {', '.join(behind)}")
    return int(check and bool(behind))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
