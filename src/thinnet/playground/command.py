"""The command `thinnet playground`."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from thinnet.report.page import write

PAGE = Path(__file__).with_name("index.html")


def playground(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file instead. It is one file and works offline.")
    ] = None,
) -> None:
    """Open a page that shows dropout at work, in the browser.

    It trains the same network with and without dropout, live, and shows masks, sub-networks, uncertainty and the choice of the
    rate. The masks are those of the library. Nothing is loaded or sent.

    Example: `thinnet playground --out dropout.html`

    Exit codes: 0 opened or written, 2 no browser, or FILE cannot be written.
    """
    if out is None:
        if not webbrowser.open(PAGE.as_uri()):
            _refuse("no browser could be opened. Write the page with --out FILE, and open it on another machine.")
        return
    try:
        write(out, PAGE.read_text(encoding="utf-8"))
    except OSError as error:
        _refuse(f"--out must be a file that can be written; {out}: {error.strerror}. Name another one.")
    typer.echo(f"Wrote {out}. Open it in a browser.")


def _refuse(reason: str) -> None:
    typer.echo(f"playground: {reason}", err=True)
    raise typer.Exit(2)
