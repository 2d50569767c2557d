"""The page in Chromium: what it shows follows the state, with mouse and keyboard, wide and narrow, light and dark."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / "playground" / "node_modules" / "axe-core" / "axe.min.js"
SCREENS = ("twins", "step", "average", "uncertainty", "rate", "variants", "questions")
LABELLED = "[...document.querySelectorAll('canvas')].every(c => !c.clientWidth || c.closest('[aria-label]'))"
TRAIN = ".transport .main"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
VIOLATIONS = "axe.run().then(({violations}) => violations.map(({id, nodes}) => [id, nodes[0].html.slice(0, 200)]))"


def at_step(page: Any, step: int) -> None:
    """Waits for a step of the run."""
    page.wait_for_function(f"document.querySelector('.transport .at').textContent.startsWith('step {step} ')")


def shown_screen(page: Any) -> str:
    return page.get_attribute("[role=tab][aria-selected=true]", "id").removeprefix("tab-")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_screens_fit(open_page: Callable, width: int, scheme: str) -> None:
    page = open_page(width=width, scheme=scheme)
    for screen in SCREENS:
        page.click(f"#tab-{screen}")
        page.wait_for_function(LABELLED)
        assert (screen, page.evaluate(OVERFLOW)) == (screen, 0)


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: run `npm ci` in playground/")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (360, "light")])
def test_screens_are_accessible(open_page: Callable, width: int, scheme: str) -> None:
    page = open_page(width=width, scheme=scheme)
    page.add_script_tag(path=AXE)
    for screen in SCREENS:
        page.click(f"#tab-{screen}")
        page.wait_for_function(LABELLED)
        if screen == "average":
            page.wait_for_selector(".three canvas")
        assert (screen, page.evaluate(VIOLATIONS)) == (screen, [])


def test_a_link_has_the_whole_state(open_page: Callable) -> None:
    page = open_page("data=moons&size=40&rates=0.2,0.5,0.4,0.4&seed=3&steps=500&speed=fast")
    page.click(TRAIN)
    at_step(page, 500)
    numbers = page.locator(".numbers dd").all_text_contents()
    again = open_page(page.url.partition("#")[2])
    again.click(TRAIN)
    at_step(again, 500)
    assert again.locator(".numbers dd").all_text_contents() == numbers
    assert again.locator("h3.dropout").text_content() == "With dropout, p = 0.20 / 0.50"


def test_a_control_changes_the_link_and_starts_the_run_anew(open_page: Callable) -> None:
    page = open_page()
    page.click("text=One step")
    at_step(page, 1)
    page.select_option("aside select >> nth=0", "xor")
    at_step(page, 0)
    assert page.url.endswith("#data=xor")
    page.click("text=Reset all settings")
    page.wait_for_function("location.hash === ''")


def test_values_of_a_link_that_are_not_valid_are_left_out(open_page: Callable) -> None:
    page = open_page("data=cats&width=7&rates=2&screen=step&seed=NaN")
    at_step(page, 0)
    assert shown_screen(page) == "step" and page.locator(".units button").count() == 2 * 32


def test_the_page_works_by_keyboard(open_page: Callable) -> None:
    page = open_page("steps=500&speed=fast")
    at_step(page, 0)
    page.keyboard.press(".")
    at_step(page, 1)
    page.keyboard.press(" ")
    at_step(page, 500)
    page.keyboard.press("r")
    at_step(page, 0)
    page.keyboard.press("2")
    assert shown_screen(page) == "step"
    page.focus("#tab-step")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert shown_screen(page) == "uncertainty"


def test_arrow_keys_move_between_units(open_page: Callable) -> None:
    page = open_page("screen=step")
    page.click(".units button >> nth=0")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert page.locator(".card h3").first.text_content() == "Hidden layer 2, unit 2"


def test_a_dropped_unit_has_no_gradient_and_no_value(open_page: Callable) -> None:
    page = open_page("screen=step&rates=0.5,0.5,0.5,0.5")
    page.click(".units button.dropped >> nth=0")
    facts = page.locator(".facts dd").all_text_contents()
    assert re.fullmatch(r"[\d.]+ . 0 = 0", facts[2]) and facts[3].startswith("0: ")
    bits, limit = map(int, re.findall(r"(\d+) < (\d+)", facts[1])[0])
    assert bits < limit == 32768


def test_numbers_of_both_scalings(open_page: Callable) -> None:
    page = open_page("screen=step")
    page.wait_for_selector(".numbers-table td")
    rows = lambda: [row.split() for row in page.locator(".numbers-table tr").all_inner_texts()]  # noqa: E731
    assert [row[-4:] for row in rows()[2:]] == [["4", "0", "12", "0"], ["2", "4", "6", "8"]]
    page.click("text=Scale at evaluation")
    assert [row[-4:] for row in rows()[2:]] == [["2", "0", "6", "0"], ["1", "2", "3", "4"]]


def test_early_stopping_shows_the_lowest_validation_loss(open_page: Callable) -> None:
    page = open_page("patience=100&speed=fast")
    page.click(TRAIN)
    page.wait_for_function("document.querySelectorAll('.state')[0].textContent.startsWith('Stopped early')")


@pytest.mark.parametrize("data", ["moons", "line"])
def test_all_sub_networks_are_averaged(open_page: Callable, data: str) -> None:
    page = open_page(f"screen=average&data={data}&steps=500&units=4")
    page.wait_for_selector("text=Average of all 16")
    assert "off by" in page.inner_text(".three section:nth-child(3)")


def test_few_runs_are_said_to_be_few(open_page: Callable) -> None:
    page = open_page("screen=rate&steps=500&width=2&depth=1&size=20")
    assert "Not enough runs yet: 0 of 5" in page.inner_text(".verdict")
    page.click("text=Start runs")
    page.wait_for_function("!document.querySelector('.verdict').textContent.includes('Not enough runs')")
    assert re.search(r"\d seeds", page.inner_text(".verdict"))


def test_every_question_sets_up_its_experiment(open_page: Callable) -> None:
    page = open_page("screen=questions")
    count = page.locator(".question").count()
    assert count >= 6
    for number in range(count):
        page.locator(".question button").nth(number).click()
        assert shown_screen(page) != "questions"
        starts = ".bar .main" if shown_screen(page) == "rate" else TRAIN
        page.wait_for_function(f"document.querySelector('{starts}').textContent.startsWith('❚❚')")
        page.click("#tab-questions")


def test_texts_are_german_where_the_browser_is(open_page: Callable) -> None:
    page = open_page(language="de-DE")
    assert page.title() == "Dropout zum Zusehen" and page.get_attribute("html", "lang") == "de"
    page.select_option("header select >> nth=0", "en")
    assert page.title() == "See dropout work" and page.url.endswith("#language=en")
