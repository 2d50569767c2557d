"""The report kit: tables, figures, pages, progress and intervals."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from thinnet.report import page
from thinnet.report.extras import need
from thinnet.report.figure import DARK, LIGHT, Panel, draw, grid
from thinnet.report.progress import progressing, tracked
from thinnet.report.table import Table, Tabular

TABLE = Table(
    ("layer", "loss", "what"),
    [("0 & <b>", 0.123456, "a"), ("1", None, "longer")],
    title="Losses",
    meaning="lower is better",
    notes=["one layer was skipped"],
    marks={1: "strong"},
)
LINE = {"type": "scatter", "x": [0, 1], "y": [0, 1], "name": "line", "line": {"color": "--blue"}}


class Found(Tabular):
    def tables(self) -> list[Table]:
        return [TABLE, Table(("a",), [("b",)])]


def test_a_table_as_text() -> None:
    assert str(TABLE).splitlines() == [
        "Losses: lower is better",
        "layer     loss  what",
        "0 & <b>  0.123  a",
        "1               longer",
        "note: one layer was skipped",
    ]
    assert str(Table(("a",), [], notes=["nothing"])) == "note: nothing"


def test_a_table_as_html_escapes_its_cells() -> None:
    html = TABLE.html()
    assert "0 &amp; &lt;b&gt;" in html and "<tr class='strong'>" in html and "one layer was skipped" in html
    assert TABLE._repr_html_() == html


def test_a_table_in_rich() -> None:
    console = pytest.importorskip("rich.console").Console(width=60, record=True, file=open("/dev/null", "w"))
    console.print(TABLE, Found())
    text = console.export_text()
    assert text.count("one layer was skipped") == 2 and "0 & <b>" in text


def test_a_result_has_the_forms_of_its_tables() -> None:
    assert str(Found()).split("\n\n") == [str(TABLE), "a\nb"]
    assert Found()._repr_html_().count("<table>") == 2


def test_the_kit_needs_no_library() -> None:
    code = (
        "import sys; before = set(sys.modules); "
        "from thinnet.report import extras, figure, formatting, intervals, page, progress, table; "
        "names = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(names - set(sys.stdlib_module_names) - {'thinnet'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_a_missing_library_names_the_function_and_the_remedy() -> None:
    with pytest.raises(ImportError, match=r"^draw: nosuch must be installed; it is not. Run pip install nosuch\.$"):
        need("nosuch.part", "draw")


def test_a_figure_has_the_colours_of_its_scheme() -> None:
    pytest.importorskip("plotly")
    figure = Panel([LINE], title="one", x={"title": "step"}, lines=(0.5,)).figure()
    for dark, palette in ((False, LIGHT), (True, DARK)):
        drawn = draw(figure, "test", dark=dark)
        assert drawn.data[0].line.color == palette["--blue"]
        assert drawn.layout.template.layout.paper_bgcolor == palette["--paper"]
        assert drawn.layout.xaxis.title.text == "step" and len(drawn.layout.shapes) == 1


def test_a_grid_gives_every_panel_axes_a_title_and_a_legend() -> None:
    pytest.importorskip("plotly")
    drawn = draw(grid([Panel([LINE], title=name, lines=(1,)) for name in ("one", "two", "three")]), "test")
    assert [trace.xaxis for trace in drawn.data] == ["x", "x2", "x3"]
    assert [note.text for note in drawn.layout.annotations] == ["<b>one</b>", "<b>two</b>", "<b>three</b>"]
    assert drawn.layout.yaxis.domain[0] > drawn.layout.yaxis3.domain[1]
    assert drawn.layout.legend3.x == 0 and len(drawn.layout.shapes) == 3


def test_a_page_is_whole_and_loads_nothing(tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    pytest.importorskip("plotly")
    text = page.document("A <page>", user="test", lead=["p = 0.5"], panels=[Panel([LINE], title="one")], tables=[TABLE])
    assert "default-src 'none'" in text and "A &lt;page&gt;" in text and 'data-figure="panel-0"' in text
    assert '<link rel="stylesheet"' not in text and " src=" not in text.replace(text[text.index("<script>") :], "")
    assert page.write(tmp_path / "deep" / "page.html", text).read_text(encoding="utf-8") == text
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["page.html"]


def test_progress_shows_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progressing("work", 3) as progress:
        progress.advance()
        progress.advance(2)
    assert progress.done == 3
    assert list(tracked("ab", "work", 2)) == ["a", "b"]
    assert capsys.readouterr() == ("", "")


def test_progress_shows_a_line_when_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("thinnet.report.progress.PATIENCE", -1.0)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progressing("work", 3, shown=True) as progress:
        progress.advance(1, "news of it")
        assert progress.line is not None
    assert "news of it" in capsys.readouterr().err


def test_a_log_has_a_line_for_each_doubling_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("thinnet.report.progress.time.monotonic", lambda: now[0])
    lines: list[str] = []
    with progressing("work", 1000, 10, shown=False, log=lines.append) as progress:
        for second in range(1, 900):
            now[0] = float(second)
            progress.reach(10 + second / 10, "on it")
    assert [int(line.split(" after ")[1].split(" ")[0]) for line in lines[:6]] == [3, 7, 15, 31, 63, 2]  # minutes after 90 s
    assert len(lines) == 8  # and after 127, 255 and 511 seconds
    assert lines[0] == "work: 10 of 1000 after 3 s, about 2.7 h left on it"  # a tenth of one in a second


def printed(table: Table, width: int) -> list[str]:
    console = pytest.importorskip("rich.console").Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 45, 60, 80, 120])
def test_a_table_keeps_words_and_numbers_whole_on_any_console(width: int) -> None:
    name = "GaussianDropout at hidden1+input, flat_cos, p = 0.3"
    rows = [(name, "0.9453", "-0.020 [-0.029, -0.016]", "1.10"), ("p = 0", "0.9680", "-", "1.11")]
    lines = printed(Table(("configuration", "loss", "less p = 0", "RMSE"), rows), width)
    assert all(len(line.rstrip()) <= width for line in lines)
    words = {word for line in lines for word in line.replace("·", " ").split()}
    assert {"GaussianDropout", "hidden1+input,", "flat_cos,", "0.9453", "1.10"} <= words
    assert any("-0.020 [-0.029, -0.016]" in line for line in lines)  # an interval is one number
    if width == 120:
        assert name in lines[2] and "1.10" in lines[2]


@pytest.mark.parametrize("width", range(40, 110, 5))
def test_a_table_breaks_names_behind_separators_and_cuts_nothing(width: int) -> None:
    rows = [("encoder.layer.0.attention.self.dropout", "dropout at hidden1+hidden2, p = 0.2", "-0.020 [-0.030, -0.010]")]
    note = "p is the probability that a training step drops a unit; p = 0 is training without dropout."
    text = "\n".join(printed(Table(("name", "what", "loss"), rows, notes=[note]), width))
    assert all(words in text for words in ("p = 0.2", "-0.020 [-0.030, -0.010]", "hidden1+hidden2,"))
    assert not re.search(r"\bp( =)? *\n", text)
    assert all(part in text for part in re.split(r"(?<=[.])", rows[0][0]))
