"""One self-contained page: HTML with its style, its figures and Plotly inside; it loads nothing."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thinnet.report.extras import need
from thinnet.report.figure import DARK, LIGHT, TEMPLATE, Figure, Panel
from thinnet.report.formatting import counted, unbroken
from thinnet.report.table import Table

HERE = "thinnet.report"


def render(template: str, figures: Mapping[str, Figure], *, package: str = HERE, user: str, **values: Any) -> str:
    """Fills in a template that extends `base.html`.

    Args:
        template: its file in the folder `templates` of the package.
        figures: the figures by the name that the template gives them.
        package: where the template is.
        user: the function that writes the page; an error starts with it.
        values: what the template reads; `title` is required.

    Returns:
        HTML that loads nothing from anywhere.

    Raises:
        ImportError: Jinja2 or Plotly is not installed.
    """
    jinja2, plotly = need("jinja2", user), need("plotly.offline", user)
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in dict.fromkeys((package, HERE))]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"unbroken": unbroken, "counted": counted}
    style = {"light": _properties(LIGHT), "dark": _properties(DARK)}
    script = {"plotly": plotly.get_plotlyjs() if figures else "", "figures": figures, "look": TEMPLATE}
    return environment.get_template(template).render(style=style, script=script, **values)


def document(
    title: str,
    *,
    user: str,
    lead: Sequence[str] = (),
    panels: Sequence[Panel] = (),
    tables: Sequence[Table] = (),
    notes: Sequence[str] = (),
    wide: bool = False,
) -> str:
    """Lays out a page: a heading, sentences, panels side by side, tables and notes.

    Args:
        title: the heading.
        user: the function that writes the page; an error starts with it.
        lead: sentences below the heading.
        panels: the figures.
        tables: below the figures.
        notes: sentences at the end.
        wide: whether each panel takes the whole width.

    Raises:
        ImportError: Jinja2 or Plotly is not installed.
    """
    figures = {f"panel-{number}": panel.figure() for number, panel in enumerate(panels)}
    values = {"title": title, "lead": lead, "panels": panels, "tables": tables, "notes": notes, "wide": wide}
    return render("document.html", figures, user=user, **values)


def write(path: Path, text: str) -> Path:
    """Replaces a file in one step, so that no reader sees half of it; makes its folder where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
    return path


def _properties(palette: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {value};" for name, value in palette.items())
