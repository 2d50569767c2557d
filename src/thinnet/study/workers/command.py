"""`thinnet study work` and `thinnet study status`: their arguments."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thinnet.arguments import exit_codes, value
from thinnet.report.formatting import counted
from thinnet.study.options import rank_and_ranks

STORAGE = value("URL", "The database of the study: postgresql://USER@HOST/NAME or sqlite:///FILE.")


def work(
    storage: Annotated[str, STORAGE],
    study: Annotated[str | None, value("NAME", "The study to work on. Default: every open one.")] = None,
    data: Annotated[
        Path | None,
        value("PATH", "The data on this machine. Default: the path on the first machine, or a copy from the database."),
    ] = None,
    wait: Annotated[str, value("TIME", "How long to wait for a study to appear.")] = "60s",
) -> None:
    """Train trials of a study that was begun with --storage, until it is done. Start as many as you like.

    Ctrl-C, `kill` and `kill -9` lose nothing: another worker trains the trial. While a study is stopped, its workers wait.

    Example: `thinnet study work --storage postgresql://me@host/studies`

    Exit codes: 0 done, 2 bad input, such as other data than those of the study, 130 stopped by Ctrl-C or `kill`.
    """
    with exit_codes():
        from thinnet.study.design.plan import parse_budget

        seconds = parse_budget(wait)
        from thinnet.study.training.ranks import joined
        from thinnet.study.training.trial import follow
        from thinnet.study.workers.database import stays_reachable
        from thinnet.study.workers.serve import serve

        if rank_and_ranks()[0]:
            return follow()
        with joined(), terminable(), stays_reachable():
            number = serve(storage, study, data, seconds, Console(stderr=True, highlight=False))
        typer.echo(f"{counted(number, 'trial')} trained.")


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, which schedulers send before they take a machine away, stop this process as Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def status(
    storage: Annotated[str, STORAGE],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what every study in a database has done, by which workers, and what is left.

    Example: `thinnet study status --storage postgresql://me@host/studies`

    Exit codes: 0 done, 2 bad input.
    """
    with exit_codes():
        from thinnet.study.workers.serve import print_status, statuses

        found = statuses(storage)
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            print_status(Console(highlight=False), found)
