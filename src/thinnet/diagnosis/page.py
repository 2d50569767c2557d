"""A diagnosis as one page that needs no network: tables, and panels that can be read off with the mouse."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from thinnet.diagnosis.panels import Panel, panels
from thinnet.diagnosis.picture import one, plotly
from thinnet.diagnosis.table import Table, tables

if TYPE_CHECKING:
    from thinnet.diagnosis.result import Diagnosis

STYLE = """
body { background: #fcfbf8; color: #1c1d20; max-width: 1120px; margin: 0 auto; padding: 48px 32px 72px; font: 16px/1.55 system-ui, sans-serif; }
h1, h2 { font-family: Charter, "Bitstream Charter", Georgia, serif; font-weight: 600; line-height: 1.15; }
h1 { font-size: 40px; margin: 0 0 10px; } h2 { font-size: 22px; margin: 0 0 4px; }
p { margin: 0 0 8px; max-width: 75ch; color: #5d6068; font-size: 14px; }
.two { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 34px 44px; margin: 36px 0; }
figure { margin: 0; min-width: 0; } figure p { min-height: 3.1em; }
.scroll { overflow-x: auto; margin: 0 0 30px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
@media (max-width: 800px) { .two { grid-template-columns: minmax(0, 1fr); } }
th, td { text-align: right; padding: 5px 12px; border-bottom: 1px solid #e4e1d9; white-space: nowrap; }
th { color: #5d6068; font-weight: 500; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
""".strip()  # noqa: E501


def write(found: "Diagnosis", path: Path) -> Path:
    """Writes the page.

    Raises:
        ImportError: Plotly is not installed.
    """
    plotly()
    from plotly.offline import get_plotlyjs

    figures = "\n".join(_figure(number, panel) for number, panel in enumerate(panels(found)))
    notes = "".join(f"<p>{escape(note)}</p>" for note in found.notes)
    path.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Diagnosis</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style><script>{get_plotlyjs()}</script></head><body>
<h1>Diagnosis</h1><p>Measured on {found.samples} samples, seed {found.seed}.</p>
<div class="two">{figures}</div>
{"".join(map(_table, tables(found)))}
{notes}</body></html>
""",
        encoding="utf-8",
    )
    return path


def _figure(number: int, panel: Panel) -> str:
    html = one(panel).to_html(
        full_html=False, include_plotlyjs=False, div_id=f"panel-{number}", config={"displayModeBar": False, "responsive": True}
    )
    return f"<figure><h2>{escape(panel.title)}</h2><p>{escape(panel.meaning)}</p>{html}</figure>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    title = table.title[:1].upper() + table.title[1:]
    meaning = table.meaning[:1].upper() + table.meaning[1:]
    return (
        f'<h2>{escape(title)}</h2><p>{escape(meaning)}.</p><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )
