"""Findings of lint and audit have one shape and one writer for each output format."""

import copy
import json
import pickle
from xml.etree import ElementTree

import pytest

from thinnet.report.findings import Edit, Finding, Findings, Format, Location, Rule

LINT = Rule("THN101", "dropout-without-training", "warning", "calls without `training`")
AUDIT = Rule("AUD101", "random in eval", "error")
NOTE = Rule("AUD505", "dropout that a test for nn.Dropout misses", "note")
IN_SOURCE = Finding(LINT, "", Location("src/a:b.py", 3, 5, 3, 9), "it drops, 100%", edits=(Edit(10, 10, "x"),), safe=True)
IN_MODEL = Finding(AUDIT, "head", Location("/x/net.py", 31), "bernoulli drew in eval.", "Tie it to the mode.")
REMARK = Finding(NOTE, "", None, "It misses 1 of 2 sites.", "Switch sites.")
ALLOWED = Finding(AUDIT, "prenet", None, "bernoulli drew in eval.", "Tie it to the mode.", "prenet dropout stays on")
ALL = Findings([IN_SOURCE, REMARK, IN_MODEL, ALLOWED], "thinnet audit", {"broken.py": "it is binary"})


def test_errors_and_warnings_fail_unless_they_are_allowed() -> None:
    assert [finding.fails for finding in ALL] == [True, False, True, False]
    assert ALL.failed and not Findings([REMARK, ALLOWED]).failed
    assert ALL.summary() == "2 findings, 2 notes"


def test_findings_are_ordered_by_severity_and_code() -> None:
    assert [finding.rule.severity for finding in ALL.by_severity()] == ["error", "error", "warning", "note"]
    assert ALL.by_severity().skipped == ALL.skipped


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda findings: pickle.loads(pickle.dumps(findings))])
def test_copies_of_findings_are_equal(copied) -> None:
    assert copied(ALL) == ALL and (copied(ALL).tool, copied(ALL).skipped) == (ALL.tool, ALL.skipped)


def test_a_finding_in_source_code_is_one_line_of_text() -> None:
    assert str(IN_SOURCE) == "src/a:b.py:3:5 THN101 [*] it drops, 100%"


def test_a_finding_in_a_model_has_its_remedy_and_reason_below() -> None:
    head = "AUD101 error: random in eval at"
    assert str(IN_MODEL) == f"{head} head (net.py:31)\n    bernoulli drew in eval.\n    Tie it to the mode."
    assert str(ALLOWED).startswith(f"{head} prenet\n") and str(ALLOWED).endswith("\n    allowed: prenet dropout stays on")
    assert str(Findings()) == "nothing found"


def test_json_has_the_same_keys_for_every_finding() -> None:
    rows = json.loads(ALL.render(Format.json))
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["edits"] == [{"start": 10, "stop": 10, "text": "x"}] and (rows[0]["path"], rows[0]["column"]) == (
        "src/a:b.py",
        5,
    )
    assert (rows[1]["path"], rows[1]["line"], rows[2]["column"], rows[3]["allowed"]) == (
        None,
        None,
        None,
        "prenet dropout stays on",
    )


def test_github_commands_escape_their_values() -> None:
    first, second, *_ = ALL.render(Format.github).splitlines()
    place = "file=src/a%3Ab.py,line=3,endLine=3,col=5,title=THN101 dropout-without-training"
    assert first == f"::error {place}::it drops, 100%25"
    assert second == "::notice title=AUD505 dropout that a test for nn.Dropout misses::It misses 1 of 2 sites. Switch sites."


def test_sarif_leaves_out_allowed_findings_and_lists_skipped_files() -> None:
    (run,) = json.loads(ALL.render(Format.sarif))["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["AUD101", "AUD505", "THN101"]
    assert [rules[result["ruleIndex"]]["id"] for result in run["results"]] == ["THN101", "AUD505", "AUD101"]
    assert [result["level"] for result in run["results"]] == ["warning", "note", "error"]
    regions = [result["locations"][0]["physicalLocation"]["region"] for result in run["results"] if "locations" in result]
    assert regions == [{"startLine": 3, "endLine": 3, "startColumn": 5, "endColumn": 9}, {"startLine": 31}]
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"] == {"text": "it is binary"}


def test_junit_fails_the_cases_of_failing_findings() -> None:
    suite = ElementTree.fromstring(ALL.render(Format.junit))
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "thinnet audit",
        "5",
        "2",
        "1",
    )
    assert [case.get("classname") for case in suite] == ["src/a:b.py", "model", "head", "prenet", "broken.py"]
    assert [failure.text for failure in suite.findall("testcase/failure")] == [None, "Tie it to the mode."]


def test_notebooks_show_a_table() -> None:
    html = ALL._repr_html_()
    assert html.count("<tr class='alarm'>") == 2 and "net.py:31" in html and "broken.py was skipped: it is binary" in html
    assert "Nothing found" in Findings()._repr_html_()


def test_rich_prints_the_text() -> None:
    console = pytest.importorskip("rich.console").Console(width=120, record=True, file=open("/dev/null", "w"))
    console.print(ALL)
    assert console.export_text().rstrip() == str(ALL)
