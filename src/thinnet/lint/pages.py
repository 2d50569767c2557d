"""The documentation of the rules, made from the rules."""

import inspect

from thinnet.lint.rule import Rule
from thinnet.lint.rules import REGISTRY

HEADINGS = ("What it does", "Why is this bad?", "Example", "Use instead", "Fix safety", "References")


def sections(rule: Rule) -> dict[str, str]:
    """Returns the text under each heading of a rule's documentation."""
    found: dict[str, list[str]] = {}
    heading = ""
    for line in (inspect.getdoc(type(rule)) or "").splitlines():
        if line.startswith("## "):
            heading = line[3:]
            found[heading] = []
        else:
            found[heading].append(line)
    return {name: "\n".join(lines).strip("\n") for name, lines in found.items()}


def summary_of(code: str) -> str:
    """Returns what a rule finds, in one sentence."""
    (rule,) = (rule for rule in REGISTRY if rule.code == code)
    first, _, _ = " ".join(sections(rule)["What it does"].split()).partition(". ")
    return first.removesuffix(".").removeprefix("Finds ")


def explain(prefix: str) -> str | None:
    """Returns the documentation of the rules whose code starts so: a page for one, a list for several."""
    found = [rule for rule in REGISTRY if rule.code.startswith(prefix.upper()) or rule.name() == prefix]
    if not found:
        return None
    if len(found) > 1:
        return "\n".join(f"{rule.code} {rule.name()}{' (preview)' if rule.preview else ''}" for rule in found)
    (rule,) = found
    return f"# {rule.name()} ({rule.code})\n\n{inspect.getdoc(type(rule))}"


def table() -> str:
    """Returns the Markdown table of all rules, for docs/lint.md."""
    lines = ["| code | name | what it finds | fix |", "| --- | --- | --- | --- |"]
    for rule in REGISTRY:
        name = f"`{rule.name()}`" + (" (preview)" if rule.preview else "")
        lines.append(f"| {rule.code} | {name} | {summary_of(rule.code)} | {_fix(rule)} |")
    return "\n".join(lines)


def _fix(rule: Rule) -> str:
    return sections(rule).get("Fix safety", "").partition(":")[0].strip(".")
