"""The outcomes as an SVG picture: for each part its interval, and the range that the claim predicts."""

from html import escape
from math import isfinite

from thinnet.reproductions.claim import Finding
from thinnet.reproductions.result import Reproductions, shown

ROW, LEFT, WIDTH, RIGHT, TOP = 26, 500, 330, 90, 34
COLOURS = {"agree": "#1d7a52", "differ": "#a8452f", "cannot tell": "#5d6068"}
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1c1d20 } .soft { fill: #5d6068 } .range { fill: #1d7a52; opacity: .16 }
.frame { fill: none; stroke: #e4e1d9 } rect.paper { fill: #fcfbf8 }
@media (prefers-color-scheme: dark) {
  text { fill: #ecebe6 } .soft { fill: #a5a8b0 } .frame { stroke: #3a3c42 } rect.paper { fill: #17181b } .range { opacity: .3 }
}
"""


def svg(found: Reproductions) -> str:
    """Returns the picture. Each row has its own scale; green is what the claim predicts."""
    findings = [finding for each in found.found for finding in each.findings]
    width, height = LEFT + WIDTH + RIGHT, TOP + ROW * len(findings) + 10
    rows = "".join(_row(finding, TOP + ROW * number) for number, finding in enumerate(findings))
    head = '<text x="10" y="20" class="soft">Mean over seeds and 95 % interval. Green: what the claim predicts.</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>Claims and measurements: {escape(found.summary())}</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{width}" height="{height}"/>{head}{rows}</svg>\n'
    )


def _row(finding: Finding, top: int) -> str:
    interval, part = finding.interval, finding.part
    ends = [value for value in (interval.low, interval.high, part.low, part.high) if isfinite(value)]
    margin = 0.15 * (max(ends) - min(ends)) or 1.0
    low, high = min(ends) - margin, max(ends) + margin

    def x(value: float) -> float:
        return round(LEFT + WIDTH * (min(max(value, low), high) - low) / (high - low), 1)

    middle, colour = top + ROW / 2, COLOURS[finding.outcome]
    return (
        f'<text x="10" y="{middle + 4}">{escape(part.value)}</text>'
        f'<rect class="range" x="{x(part.low)}" y="{top + 3}" width="{x(part.high) - x(part.low):.1f}" height="{ROW - 6}"/>'
        f'<rect class="frame" x="{LEFT}" y="{top + 3}" width="{WIDTH}" height="{ROW - 6}"/>'
        f'<path d="M{x(interval.low)} {middle}H{x(interval.high)}" stroke="{colour}" stroke-width="3"/>'
        f'<circle cx="{x(interval.mean)}" cy="{middle}" r="4.5" fill="{colour}"><title>{shown(interval.mean)}</title></circle>'
        f'<text x="{LEFT + WIDTH + 8}" y="{middle + 4}" class="soft">{finding.outcome}</text>'
    )
