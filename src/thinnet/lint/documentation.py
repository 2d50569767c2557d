"""The documentation of the rules, from their docstrings."""

import inspect

from thinnet.lint.rule import LintRule
from thinnet.lint.rules import REGISTRY


def explain(prefix: str) -> str | None:
    """Returns the page of the rule with this code or name, or a list of the rules whose code starts so."""
    found = [rule for rule in REGISTRY if rule.code.startswith(prefix.upper()) or rule.name() == prefix]
    if not found:
        return None
    if len(found) > 1:
        return "\n".join(f"{rule.code} {rule.name()}{' (preview)' if rule.preview else ''}" for rule in found)
    (rule,) = found
    return f"# {rule.name()} ({rule.code})\n\n{inspect.getdoc(type(rule))}"


def table() -> str:
    """Returns the Markdown table of all rules for docs/lint.md."""
    lines = ["| code | name | what it finds | fix |", "| --- | --- | --- | --- |"]
    for rule in REGISTRY:
        name = f"`{rule.name()}`" + (" (preview)" if rule.preview else "")
        lines.append(f"| {rule.code} | {name} | {rule.summary()} | {_fix_safety(rule)} |")
    return "\n".join(lines)


def _fix_safety(rule: LintRule) -> str:
    return rule.sections().get("Fix safety", "").partition(":")[0].strip(".")
