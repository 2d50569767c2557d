"""The sites of a model as a table, for the terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thinnet.models.found import FoundSite, Sites

HEAD = ("name", "line", "kind", "p", "measured", "on in", "shared axes")


def rows(sites: "Sites") -> list[tuple[str, ...]]:
    """Returns one row a site, in words."""
    return [_row(site) for site in sites]


def where(site: "FoundSite") -> str:
    """Returns the file and the line of a site, without the folders."""
    return "" if site.line is None else Path(site.line).name


def _row(site: "FoundSite") -> tuple[str, ...]:
    measured = "" if site.measured is None else f"{site.measured:.3f}"
    if site.interval is not None:
        measured += f" ±{(site.interval[1] - site.interval[0]) / 2:.3f}"
    on = ", ".join(mode for mode, drawn in (("train", site.on_in_train), ("eval", site.on_in_eval)) if drawn)
    if site.turned_off_by == "another mode":
        on += ", by the mode of another module"
    kind = site.kind + (", no effect" if site.effect is False else "") + (f", {site.note}" if site.note else "")
    return (
        site.name or "(the model)",
        where(site),
        kind,
        "" if site.p is None else f"{site.p:.3g}",
        measured,
        on,
        site.sharing,
    )


def plain(sites: "Sites") -> str:
    """Returns the table as lines of text."""
    lines = [HEAD, *rows(sites)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(HEAD))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in lines]
    return "\n".join([*text, *(f"not seen: {what}" for what in sites.unseen)])
