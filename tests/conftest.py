"""Options and fixtures of all tests. A run is the same each time; `--fresh-seed` draws another one and prints it."""

import contextlib
import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("thinnet", deadline=None)  # no test measures time
    settings.load_profile("thinnet")


STARTERS = {"subprocess", "Forked", "assert_ranks", "python", "Processes"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fresh-seed", action="store_true", help="draw the seed of the statistical tests anew")


def pytest_configure(config: pytest.Config) -> None:
    config.thinnet_seed = random.SystemRandom().getrandbits(31) if config.getoption("--fresh-seed") else 20140101


def pytest_report_header(config: pytest.Config) -> str:
    from thinnet import ops

    return f"thinnet: seed {config.thinnet_seed}, paths {ops.backends()}"


@pytest.fixture(autouse=True)
def seed(request: pytest.FixtureRequest) -> int:
    """Seeds torch before each test; returns the seed."""
    torch.manual_seed(request.config.thinnet_seed)
    torch._dynamo.reset()
    return request.config.thinnet_seed


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a machine that builds (CI), the compiled kernels have to be there: a run without them would test less in silence."""
    from thinnet import ops

    if os.environ.get("CI") and ops.backends()["cpu"] == "reference":
        raise pytest.UsageError("the C++ kernels are missing; run `make setup`")
    if "PYTEST_XDIST_WORKER" in os.environ:
        long, sizes = {item.path for item in items if starts_processes(item)}, Counter(item.path for item in items)
        items.sort(key=lambda item: (item.path not in long, -sizes[item.path]))  # short files last: all workers end together


def starts_processes(item: pytest.Item) -> bool:
    """Return whether a test starts a browser, or its file starts processes. Few of them take longer than many others."""
    return "browser" in getattr(item, "fixturenames", ()) or not STARTERS.isdisjoint(vars(getattr(item, "module", item)))


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
def offline_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file in a context of its own; afterwards the console must be silent and nothing but files requested."""
    complaints: list[str] = []
    requests: list[str] = []
    contexts = []

    def opened(url: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
