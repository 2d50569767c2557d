"""Writes the generated parts of the documentation: `python -m docs.generate [--check]`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Methods come from the facts that they declare, figures from
benchmarks/results. With `--check` nothing is written, and a part that is behind is an error.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import lint, markdown, tables
from benchmarks.quality import inference_parts
from docs import gallery
from thinnet.lint import table as rules
from thinnet.methods import FOLDERS, catalogue
from thinnet.methods.facts import Method
from thinnet.models.audit.audit import RULES

ROOT = Path(__file__).parent.parent
PART = re.compile(r"(<!-- generated: (\w+) -->\n)(?:(?!<!-- ).)*(<!-- end -->)", re.DOTALL)


def linked(method: Method) -> str:
    """Returns the names that a method is called by."""
    places = (("nn", method.module), ("functional", method.function))
    return ", ".join(f"`{place}.{thing.__name__}`" for place, thing in places if thing is not None)


def overview() -> str:
    """Returns one row a method, folder by folder."""
    rows = []
    for folder, methods in FOLDERS.items():
        for family in catalogue.families(methods):
            facts = family[0].facts
            names = ", ".join(f"`{method.name}`" for method in family)
            rows.append([folder, f"[{facts.name}](#{anchor(facts.name)})", names, facts.summary, facts.default])
    return markdown.table(["", "method", "names", "what it does", "start with"], rows)


def anchor(title: str) -> str:
    """Returns what a link to a heading ends with."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def cards() -> str:
    """Returns a section a method: what it does, when to take it and when not, what it costs, and who else has it."""
    sections = []
    for folder, methods in FOLDERS.items():
        sections.append(f"## {folder.capitalize()}")
        sections += [card(family) for family in catalogue.families(methods)]
    return "\n\n".join(sections)


def card(family: tuple[Method, ...]) -> str:
    """Returns the section of a method."""
    facts = family[0].facts
    rows = [["names", "; ".join(map(linked, family))], ["grain", facts.grain], ["take it", facts.place]]
    rows += [["not", facts.avoid], ["start with", facts.default], ["p in", facts.domain], ["cost", facts.cost]]
    rows += [["elsewhere", facts.elsewhere], ["paper", facts.paper]]
    lines = [f"### {facts.name}", facts.summary, f"```text\n{facts.equation}\n```"]
    lines += [f"![{method.name}](gallery/{method.name}.png)" for method in family if method.picture is not None]
    return "\n\n".join(
        [*lines, markdown.table(["", ""], [[f"**{name}**", text.replace("|", "\\|")] for name, text in rows if text])]
    )


def audit() -> str:
    """Returns one row a rule of the audit."""
    return markdown.table(["code", "severity", "finding"], [[rule.code, rule.severity, rule.name] for rule in RULES])


PARTS: dict[str, Callable[[], str]] = {
    "overview": overview,
    "cards": cards,
    "audit": audit,
    "rules": rules,
    "lint": lint.precision,
    "lint_speed": lint.speed,
    **inference_parts.PARTS,
    **tables.TABLES,
}


def render(text: str) -> str:
    """Returns the text with its generated parts made anew."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n{match[3]}", text)


def main(check: bool) -> int:
    """Writes, or checks, every Markdown file and the gallery; returns the exit status."""
    behind = gallery.update(check)
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
