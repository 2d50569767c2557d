"""`thinnet reproduce`: its arguments."""

from pathlib import Path
from typing import Annotated

import typer

from thinnet.arguments import exit_codes, value
from thinnet.report.machine import cores

FULL, QUICK = 20, 5
"""Seeds of a claim, by default and with `--quick`."""


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Claims. Default: list all of them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Measure every claim.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help=f"{QUICK} seeds instead of {FULL}.")] = False,
    seeds: Annotated[int | None, typer.Option(min=3, metavar="N", help=f"Seeds of a claim. Default: {FULL}.")] = None,
    data: Annotated[
        str, value("PATH", "MNIST files, CIFAR batches or a folder of pictures by class, in place of scikit-learn's digits.")
    ] = "digits",
    out: Annotated[Path, value("FOLDER", "Output folder: the values of all seeds, the result and a picture.")] = Path(
        "reproductions"
    ),
    storage: Annotated[
        str | None, value("URL", "A database for the values, such as postgresql://USER@HOST/NAME. Default: a file in --out.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Parallel processes; they change no number. Default: all cores."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the result, as JSON, on stdout.")] = False,
) -> None:
    """Measure published claims about dropout again, on data that is at hand.

    Each claim predicts ranges for a few numbers. We measure them from several seeds; each draws its split, initial weights,
    batches and masks. If the interval of the mean lies in the range, we agree; if the two have nothing in common, we differ.
    Otherwise the seeds cannot tell. To resume an interrupted run, or to add seeds, run the command again.

    Example: `thinnet reproduce lower-loss best-epoch-later --quick`

    Everything, in some minutes or overnight: `thinnet reproduce --all --quick`, `thinnet reproduce --all`

    Exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C.
    """
    with exit_codes():
        if not names and not everything:
            from thinnet.reproductions.command import listing

            listing()
            return
        from thinnet.reproductions.command import reproduce as measure

        number = seeds or (QUICK if quick else FULL)
        measure([] if everything else names or [], number, data, out, storage, jobs or cores(), as_json)
