"""Takes the screenshots of the docs, of a report and of the playground: `python -m docs.picture [report/index.html]`."""

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from docs.playground import PAGE

HERE = Path(__file__).parent
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main(report: Path) -> None:
    """Writes docs/study.png and docs/playground.png: the top of each page in a window of 1280 by 1240."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 1240}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=HERE / "study.png")
        take_playground(page)
        browser.close()


def take_playground(page: Any) -> None:
    """Writes docs/playground.png: both networks at the end of a run."""
    page.goto(f"{PAGE.as_uri()}#language=en&speed=fast")
    page.click(".transport .main")
    page.wait_for_selector("text=step 2000 of 2000")
    page.screenshot(path=HERE / "playground.png")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "report/index.html"))
