"""Take the screenshot of the README from a report: `python -m docs.picture [report/index.html]`."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def main(report: Path) -> None:
    """Write docs/study.png: the top of the report in a window of 1280 by 1240."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 1240}, color_scheme="light")
        page.goto(report.resolve().as_uri())
        page.wait_for_timeout(1000)
        page.screenshot(path=HERE / "study.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "report/index.html"))
