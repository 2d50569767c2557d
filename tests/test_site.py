"""The docs site: it builds without a warning, its links lead somewhere, and it asks no other server for anything."""

import functools
import http.server
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "build" / "site"
PAGES = ("index", "new", "choose", "debugging", "faq", "recipe_language", "comparison", "api/losses", "api/thinnet")
LARGE = ("methods", "api/nn")  # thousands of nodes: axe reads these in one screen
SCREENS = {"wide": (1280, "light"), "narrow": (390, "light"), "dark": (1280, "dark")}
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


@pytest.fixture(scope="module")
def site() -> Path:
    """The built site. `docs.site` builds it strictly, so a page that does not exist fails here."""
    pytest.importorskip("zensical", reason="needs Zensical: pip install thinnet[docs]")
    run = subprocess.run([sys.executable, "-m", "docs.site"], cwd=ROOT, capture_output=True, text=True)
    said = run.stdout + run.stderr
    assert run.returncode == 0 and "griffe:" not in said, said  # griffe names arguments that a function does not have
    return SITE


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """The site on a server of this machine."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_links_lead_to_pages_and_headings(site: Path) -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in texts.items()}
    wrong = []
    for page, text in texts.items():
        if "source" in page.relative_to(site).parts[:1]:
            continue  # code of the repository
        for link in set(re.findall(r'\b(?:href|src)="(?![a-z]+:)([^"]*)"', text)):
            file, _, anchor = unquote(link).partition("#")
            there = page if not file else (page.parent / file.partition("?")[0]).resolve()
            if there.is_dir():
                there /= "index.html"
            if not there.exists() or (anchor and there in ids and anchor not in ids[there]):
                wrong.append(f"{page.relative_to(site)}: {link}")
    assert len(texts) > 40 and wrong == []


def test_every_page_of_docs_is_in_the_navigation(site: Path) -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert pages - set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == set()


def test_every_public_function_has_its_place_in_the_api(site: Path) -> None:
    import thinnet

    for module in ("thinnet", "thinnet.nn", "thinnet.functional", "thinnet.losses", "thinnet.inference"):
        text = (site / "api" / f"{module.removeprefix('thinnet.')}.html").read_text(encoding="utf-8")
        public = thinnet if module == "thinnet" else getattr(thinnet, module.removeprefix("thinnet."))
        names = [name for name in dir(public) if not name.startswith("_") and callable(getattr(public, name))]
        assert [name for name in names if f'id="{module}.{name}"' not in text] == []


@pytest.mark.parametrize("screen", SCREENS)
def test_pages_fit_and_are_accessible_and_ask_no_other_server(browser: Any, address: str, screen: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    width, scheme = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page, requests, complaints = context.new_page(), [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for name in (*PAGES, *LARGE):
        page.goto(f"{address}{name}.html")
        page.wait_for_load_state("networkidle")
        assert page.evaluate(OVERFLOW) <= 0, name
        if name in PAGES or screen == "wide":
            found = Axe().run(page, options=RULES).response["violations"]
            assert (name, [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in found]) == (name, [])
    context.close()
    assert [url for url in requests if not url.startswith((address, "data:", "blob:"))] == []
    assert complaints == []


def test_search_finds_a_method(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto(f"{address}index.html")
    page.get_by_role("button", name="Search").first.click()
    page.keyboard.type("zoneout", delay=20)
    page.get_by_text("Zoneout").first.wait_for(timeout=10_000)
    page.close()
