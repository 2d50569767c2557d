"""The report in Chromium, wide and narrow, light and dark: every figure is drawn, the console is silent, nothing is loaded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from thinnet.study.command import run_study
from thinnet.study.design.plan import Plan

pytest.importorskip("playwright.sync_api")

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
DRAWN = "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.plot-container'))"
SPANS = """[...document.querySelectorAll('[data-curve]')].map(plot =>
    [...plot.querySelectorAll('.scatterlayer .js-line')].map(line => line.getBBox().width / plot.clientWidth))"""
BAND_AND_CURVES = 4
"""Lowest and highest validation over seeds, training, and validation."""


@pytest.fixture(scope="module")
def reports(
    study: Callable, request_of: Callable, mixed: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """Reports of different kinds: images, a hostile table, too few seeds, no rate but 0, a known function, and two methods."""
    folder = tmp_path_factory.mktemp("reports")
    hostile = "</script><script>alert(1)</script>"
    mixed.rename(columns={"label": hostile}).to_csv(folder / "hostile.csv", index=False)
    mixed.to_csv(folder / "numbers.csv", index=False)
    commands: dict[str, list[object]] = {
        "digits": [],
        "hostile": [folder / "hostile.csv", "--target", hostile],
        "numbers": [folder / "numbers.csv", "--target", "amount", "--seeds", 1],
        "toy": ["toy"],
        "zero": [folder / "numbers.csv", "--target", "amount", "--rates", "0"],
    }
    for name, arguments in commands.items():
        assert study("--epochs", 20, *arguments, "--out", folder / name).code == 0
    plan = Plan(rates=(0.3, 0.6), epochs=20, hidden=(16,), methods=("dropout", "thin"))
    assert run_study(request_of(None, None, plan, folder / "methods")) == 0
    return {name: folder / name / "index.html" for name in (*commands, "methods")}


@pytest.fixture
def open_page(offline_page: Callable) -> Callable:
    """Open a report."""

    def open_report(path: Path, viewport: dict[str, int] = WIDE, scheme: str = "light") -> Any:
        page = offline_page(path.as_uri(), viewport=viewport, color_scheme=scheme)
        page.wait_for_function(DRAWN)
        return page

    return open_report


def assert_fits(page: Any) -> None:
    """Nothing is wider than the window."""
    width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window


def assert_curves_drawn(page: Any) -> None:
    """Every panel has its band and its two curves, each as wide as most of the panel."""
    panels = page.evaluate(SPANS)
    assert panels
    for spans in panels:
        assert sum(span > 0.5 for span in spans) >= BAND_AND_CURVES


@pytest.mark.parametrize("name", ["digits", "hostile", "numbers", "zero", "methods", "toy"])
def test_report_is_accessible(reports: dict, open_page: Callable, name: str):
    """axe-core finds nothing, wide and light, narrow and dark: landmarks, names, heading order, contrast."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    for viewport, scheme in ((WIDE, "light"), (NARROW, "dark")):
        page = open_page(reports[name], viewport, scheme)
        found = axe.Axe().run(page).response["violations"]
        assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_report_without_javascript_has_answer_and_table(reports: dict, browser: Any):
    result = json.loads((reports["digits"].parent / "result.json").read_text())
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(reports["digits"].as_uri())
    shown = page.inner_text("main").replace("\N{NO-BREAK SPACE}", " ")
    assert all(text in shown for text in ("JavaScript is off", result["verdict"]["headline"], *result["verdict"]["sentences"]))
    table = page.get_by_role("region", name="Every configuration in numbers")
    assert table.locator("tbody tr").count() == len(result["configurations"])
    assert page.locator("figure:visible").count() == page.locator("button:visible").count() == 0
    context.close()


def test_first_key_skips_to_the_content(reports: dict, open_page: Callable):
    page = open_page(reports["digits"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "MAIN"
    targets = page.evaluate("[...document.querySelectorAll('nav a')].map(link => !!document.querySelector(link.hash))")
    assert targets and all(targets)


def test_wide_table_says_that_it_scrolls_on_a_phone_only(reports: dict, open_page: Callable):
    text = "getComputedStyle(document.querySelector('#rates .scroll'), '::before').content"
    assert "Scroll sideways" in open_page(reports["digits"], NARROW).evaluate(text)
    assert open_page(reports["digits"]).evaluate(text) == "none"


def test_reports_are_small(reports: dict):
    assert all(path.stat().st_size < 6e6 for path in reports.values())


def background(page: Any) -> int:
    return int(page.evaluate("getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/)[0]"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", ["digits", "hostile", "numbers", "zero", "methods", "toy"])
def test_report_is_drawn(reports: dict, open_page: Callable, name: str, viewport: dict, scheme: str):
    page = open_page(reports[name], viewport, scheme)
    assert_fits(page)
    assert_curves_drawn(page)
    assert (background(page) > 128) == (scheme == "light")


def test_verdict_comes_first_and_agrees_with_the_result(reports: dict, open_page: Callable):
    page = open_page(reports["digits"])
    verdict = json.loads((reports["digits"].parent / "result.json").read_text())["verdict"]
    shown = page.inner_text("header").replace("\N{NO-BREAK SPACE}", " ")
    assert shown.index(verdict["headline"]) < shown.index(verdict["sentences"][0])
    assert verdict["sentences"][-1] in shown
    assert shown.count("NLL, the negative log-likelihood") == 1
    assert page.evaluate("document.querySelector('h1').getBoundingClientRect().top") < 200


def test_methods_are_compared(reports: dict, open_page: Callable):
    page = open_page(reports["methods"])
    said = json.loads((reports["methods"].parent / "result.json").read_text())["methods"]["sentences"]
    shown = page.inner_text("body").replace("\N{NO-BREAK SPACE}", " ")
    assert said and all(sentence in shown for sentence in said)
    assert {"line-dropout", "line-thin", "difference-thin", "times-thin", "cost"} <= set(
        page.evaluate("[...document.querySelectorAll('[data-figure]')].map(plot => plot.dataset.figure)")
    )
    assert "Thin compared with dropout" not in open_page(reports["digits"]).inner_text("body")


def test_figures_follow_the_scheme_while_open(reports: dict, open_page: Callable):
    page = open_page(reports["digits"])
    colour = "document.querySelector('[data-curve] .js-line[style*=\"stroke:\"]').parentElement.parentElement.innerHTML"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"(before) => {colour} !== before", arg=light)
    assert page.evaluate(colour) != light


def test_curves_switch_from_loss_to_error(reports: dict, open_page: Callable):
    page = open_page(reports["digits"])
    path = "document.querySelector('[data-curve=\"0.3\"] .scatterlayer').innerHTML"
    before = page.evaluate(path)
    page.click("button[data-show=error]")
    page.wait_for_function(f"(before) => {path} !== before", arg=before)
    assert page.get_attribute("button[data-show=error]", "aria-pressed") == "true"
    assert_curves_drawn(page)


def test_text_of_the_file_is_escaped(reports: dict, open_page: Callable):
    page = open_page(reports["hostile"])
    assert "</script><script>alert(1)</script>" in page.inner_text(".kicker")


def test_report_names_no_other_address():
    import thinnet.report
    import thinnet.study.report

    for package in (thinnet.report, thinnet.study.report):
        for path in (Path(package.__path__[0]) / "templates").iterdir():
            assert "http://" not in path.read_text() and "https://" not in path.read_text()
