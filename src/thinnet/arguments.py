"""Arguments that several subcommands share."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Annotated, Any

import typer

from thinnet.report.mistakes import Mistake


def value(metavar: str, what: str) -> Any:
    """Returns an option that takes a value."""
    return typer.Option(metavar=metavar, help=what)


ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="FILE.py:FACTORY or package.module:FACTORY. FACTORY takes no arguments and returns the model."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="SHAPE",
        help="Shape of a random input: 4x3x32x32, or 2x12:int64:1000 for integers below 1000. Repeat it for several inputs.",
    ),
]
Passes = Annotated[
    int, typer.Option(min=1, metavar="N", help="Forward passes in training mode. Raise it if a site runs only in some of them.")
]


class LogName(str, Enum):
    """A log of the trials of a study."""

    tensorboard = "tensorboard"


class Elsewhere(str, Enum):
    """Where workers of a study start."""

    ray = "ray"
    slurm = "slurm"


class TaskName(str, Enum):
    """The task of a study."""

    classification = "classification"
    regression = "regression"


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns an error that the caller can correct into one sentence and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except Mistake as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
