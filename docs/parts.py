"""The generated parts of the documentation: methods from their files, figures from benchmarks/results."""

import re
from collections.abc import Callable
from typing import Any

from benchmarks import lint, markdown, tables
from benchmarks.quality import inference_parts
from thinnet.lint import table as rules
from thinnet.methods import cards, catalogue
from thinnet.methods.facts import Method
from thinnet.methods.registry import FOLDERS
from thinnet.models.audit.audit import RULES
from thinnet.models.recommend.evidence import EVIDENCE
from thinnet.reproductions.result import shown


def overview() -> str:
    """Returns one row a method, folder by folder."""
    rows = []
    for folder, methods in FOLDERS.items():
        for family in catalogue.families(methods):
            card = cards.read(family[0])
            names = ", ".join(f"`{method.name}`" for method in family)
            link = f"[{card.title}](#{anchor(card.title)})"
            rows.append([folder, link, names, card.summary, card.sections.get("Start with", "")])
    return markdown.table(["", "method", "names", "what it does", "start with"], rows)


def anchor(title: str) -> str:
    """Returns the anchor of a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def all_cards() -> str:
    """Returns a section for each method: what it does, when to use it, its cost, and other implementations."""
    sections = []
    for folder, methods in FOLDERS.items():
        sections.append(f"## {folder.capitalize()}")
        sections += [section(family) for family in catalogue.families(methods)]
    return "\n\n".join(sections)


def section(family: tuple[Method, ...]) -> str:
    """Returns the section of a method."""
    card = cards.read(family[0])
    names = "; ".join(", ".join(f"`{name}`" for name in catalogue.public_names(method)) for method in family)
    rows = {"Names": names} | card.sections | {"Used in practice by": cards.used_by(family[0]), "p in": family[0].facts.domain}
    lines = [f"### {card.title}", card.summary, f"```text\n{card.equation}\n```"]
    lines += [f"![{method.name}](gallery/{method.name}.png)" for method in family if method.picture is not None]
    table = [[f"**{name.lower()}**", text.replace("|", "\\|")] for name, text in rows.items() if text]
    return "\n\n".join([*lines, markdown.table(["", ""], table)])


def audit() -> str:
    """Returns one row for each rule of the audit."""
    return markdown.table(["code", "severity", "finding"], [[rule.code, rule.severity, rule.name] for rule in RULES])


def evidence() -> str:
    """Returns one row for each published effect that `thinnet recommend` knows."""
    families = [family for methods in FOLDERS.values() for family in catalogue.families(methods)]
    cards_of = {
        name.split(".")[-1]: cards.read(family[0])
        for family in families
        for method in family
        for name in (method.name, *catalogue.public_names(method))
    }
    rows = []
    for row in EVIDENCE:
        card = cards_of.get(row.method)  # "none" has no card
        name = f"`{row.method}`" if card is None else f"[`{row.method}`](methods.md#{anchor(card.title)})"
        ends = [f"{rate:g}" for rate in dict.fromkeys((*row.rates[:1], *row.rates[-1:]))]
        rates = " to ".join(ends) + f" ({row.schedule})" * bool(row.schedule)
        rows.append([row.reason, name, row.place, rates, row.effect, row.source])
    return markdown.table(["your network", "method", "place", "rates", "measured by the source", "source"], rows)


def claims() -> str:
    """Returns a section for each outcome, with the claims, what was measured, and the intervals."""
    document = markdown.load("reproductions")
    sections = []
    for outcome in ("agree", "differ", "cannot tell"):
        found = [claim for claim in document["claims"] if claim["outcome"] == outcome]
        sections.append(f"### {len(found)} {outcome}")
        rows = [row for claim in found for row in claim_rows(claim)]
        sections += [markdown.table(["claim", "measured", "predicted", "mean (95 % interval)", ""], rows)] if rows else []
    return "\n\n".join(sections)


def claim_rows(claim: dict[str, Any]) -> list[list[str]]:
    """Returns one row for each part of a claim; the first has its statement, its source and our task."""
    about = f"**{claim['name']}**: {claim['says']} ({claim['source']}) *{claim['task']}*"
    rows = []
    for part in claim["parts"]:
        mean, low, high = (shown(part[name]) for name in ("mean", "low", "high"))
        rows.append([about, part["measured"], part["predicted"], f"{mean} ({low} to {high})", part["outcome"]])
        about = ""
    return rows


def verdicts() -> str:
    """Returns one row for each kind of noise: how often the verdict of a simulated study is wrong, and its power."""
    rows = [row for row in markdown.load("study_verdicts")["rows"] if row["rows for training"] == "the same"]
    none = {row["noise"]: row for row in rows if row["effect"] == "none"}
    real = {row["noise"]: row for row in rows if row["effect"] == "as the note"}

    def share(values: list[float]) -> str:
        value, low, high = (f"{100 * each:.1f}" for each in values)
        return f"{value} % ({low} to {high})"

    test = "sign-flip test over seeds alone"
    body = [[noise, share(row["yes, share"]), share(row[f"{test}, share"])] for noise, row in none.items()]
    return markdown.table(
        ["noise", 'false "yes" without an effect', test, '"yes" at the difference that the report names'],
        [[*row, share(real[row[0]]["yes, share"])] for row in body],
    )


PARTS: dict[str, Callable[[], str]] = {
    "overview": overview,
    "cards": all_cards,
    "audit": audit,
    "evidence": evidence,
    "claims": claims,
    "verdicts": verdicts,
    "rules": rules,
    "lint": lint.precision,
    "lint_speed": lint.speed,
    **inference_parts.PARTS,
    **tables.TABLES,
}
