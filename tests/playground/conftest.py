"""Chromium with the built page."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from thinnet.playground.command import PAGE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; without it the tests are skipped, but not where CI is set."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    if CHROMIUM is None:
        assert "CI" not in os.environ, "CI must have Chromium: apt-get install chromium"
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable]:
    """Opens the page from its file; afterwards the console must be silent and nothing but the file requested."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def opened(state: str = "", *, width: int = 1280, scheme: str = "light", language: str = "en-GB") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, locale=language)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{PAGE.as_uri()}#{state}")
        page.wait_for_selector("h2")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
