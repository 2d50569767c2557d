"""The built page in Chromium."""

from collections.abc import Callable
from typing import Any

import pytest

from thinnet.playground.command import PAGE


@pytest.fixture
def open_page(offline_page: Callable) -> Callable:
    """Opens the page from its file."""

    def opened(state: str = "", *, width: int = 1280, scheme: str = "light", language: str = "en-GB") -> Any:
        viewport = {"width": width, "height": 800}
        page = offline_page(f"{PAGE.as_uri()}#{state}", viewport=viewport, color_scheme=scheme, locale=language)
        page.set_default_timeout(20_000)
        page.wait_for_selector("h2")
        return page

    return opened
