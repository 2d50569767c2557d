"""The commands and their arguments; what they do is elsewhere."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thinnet.report.findings import Format
from thinnet.study.plan import Plan, StudyError, parse_budget, parse_names, parse_numbers

app = typer.Typer(
    help="Dropout for PyTorch: every method, and whether it helps here, at which rate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


class TaskName(str, Enum):
    """What to do with the target."""

    classification = "classification"
    regression = "regression"


def show_version(wanted: bool) -> None:
    """Prints the version and which toss path serves which device, and leaves.

    Args:
        wanted: whether `--version` was given.
    """
    if wanted:
        from thinnet.ops import backends

        paths = ", ".join(f"{device}: {path}" for device, path in backends().items())
        typer.echo(f"thinnet {version('thinnet')} ({paths})")
        raise typer.Exit()


@app.callback()
def common(
    _: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Version, and how each device tosses."),
    ] = False,
) -> None:
    """Dropout for PyTorch: every method, and whether it helps here, at which rate."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turns what a person can mend into one sentence and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except StudyError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def cores() -> int:
    """Counts the cores this process may use.

    Returns:
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="A method, such as DropBlock2d. Without one: all of them.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print as JSON: a list, or one object for NAME.")] = False,
) -> None:
    """Shows the methods: what each does, when to take it and when not, its rate, its cost, and a picture of its mask.

    Example: `thinnet methods DropBlock2d`

    Exit codes: 0 shown, 2 no such method.
    """
    from thinnet.methods import catalogue

    try:
        chosen = None if name is None else catalogue.find(name)
    except ValueError as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    if as_json:
        found = [catalogue.plain(method) for method in catalogue.REGISTRY] if chosen is None else catalogue.plain(chosen)
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    Console().print(catalogue.listing() if chosen is None else catalogue.card(chosen))


ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="FILE.py:FACTORY, or package.module:FACTORY.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option("--input", help="A random input, in order: 4x3x32x32, or 2x12:int64:1000 for integers below 1000."),
]
Passes = Annotated[int, typer.Option(min=1, help="Training passes; a place that few of them reach needs more.")]


@app.command()
def sites(
    model: ModelArgument,
    inputs: Inputs = None,
    passes: Passes = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print the sites as JSON on stdout and nothing else.")] = False,
    html: Annotated[Path | None, typer.Option(help="Draw the network into this file, sites coloured by rate.")] = None,
) -> None:
    """Shows what is random in a model: every place that tosses coins, how much it drops, and who turns it off.

    FACTORY is called without arguments and returns the model. Without `--input` only what modules declare is listed.

    Example: `thinnet sites train.py:make_model --input 4x3x32x32 --html sites.html`

    Exit codes: 0 shown, 2 no such model.
    """
    from thinnet.models.command import show_sites

    raise typer.Exit(show_sites(model, inputs or [], passes, as_json, html))


@app.command()
def audit(
    model: ModelArgument,
    inputs: Inputs = None,
    passes: Passes = 8,
    allow: Annotated[
        list[str] | None, typer.Option(help="What is meant to be so: 'AUD101 decoder.prenet*=why'. May be repeated.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Runs a model and says what is wrong with its randomness: on in eval, off in training, wrong rates, wrong places.

    Example: `thinnet audit train.py:make_model --input 64x784`

    Exit codes: 0 nothing that counts, 1 findings, 2 no such model.
    """
    from thinnet.models.command import show_findings

    raise typer.Exit(show_findings(model, inputs or [], passes, allow or [], Format.json if as_json else output))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lint(context: typer.Context) -> None:
    """Finds dropout mistakes in source files, without running them. `thinnet lint --help` says how."""
    try:
        from thinnet.lint.command import lint as command  # its parser of Python would slow every other command down
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        typer.echo("thinnet lint: it needs the lint extra: pip install 'thinnet[lint]'", err=True)
        raise typer.Exit(2) from None
    linter = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False)
    linter.command(context_settings={"help_option_names": ["-h", "--help"]})(command)
    linter(args=context.args, prog_name="thinnet lint")


@app.command()
def study(
    file: Annotated[
        Path | None, typer.Argument(help="A .csv, .tsv, .parquet or .npz file. Without one: scikit-learn's digits.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict, or the array in an .npz file.")] = None,
    task: Annotated[TaskName | None, typer.Option(help="Overrides the task found from the target.")] = None,
    rates: Annotated[str, typer.Option(help="Rates to compare, in [0, 1); 0 is always among them.")] = (
        "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9"
    ),
    seeds: Annotated[
        int, typer.Option(help="Trials a rate; 3 or more for an interval. More seeds go on in the same folder.")
    ] = 8,
    budget: Annotated[
        str | None,
        typer.Option(help="Stop training after this long, such as 90s, 2m or 1h, but after one seed at least."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of this study: report, trials and weights.")] = Path("report"),
    jobs: Annotated[int | None, typer.Option(help="Processes side by side; changes no number. Default: the cores.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the split and, for every trial, weights, batches and coins.")] = 0,
    epochs: Annotated[int, typer.Option(help="Passes over the training rows, the same for every rate.")] = 100,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers.")] = "128,128",
    batch: Annotated[int, typer.Option(help="Rows a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "cpu",
    precision: Annotated[str, typer.Option(help="Such as 32-true or bf16-mixed.")] = "32-true",
    methods: Annotated[
        str, typer.Option(help="What to train at every rate: dropout, thin or both. Both are compared at the same rates.")
    ] = "dropout",
    groups: Annotated[int, typer.Option(help="For thin: groups of samples in a batch, each with coins of its own.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout and nothing else.")] = False,
) -> None:
    """Says whether dropout helps on your data, at which rate, and how sure that is.

    Trains the same network at every rate over several seeds, chooses the rate on hold-out rows, and only then compares
    it with no dropout on test rows. Rates are paired: at one seed they share initial weights, batches and coins.
    Interrupted? The same command goes on.

    Example: `thinnet study patients.csv --target outcome --budget 10m --out outcome-report`

    Is thinning as good, in less time? `thinnet study --methods dropout,thin --rates 0.2,0.5 --out thin-report`

    Exit codes: 0 done, 2 bad input (nothing is overwritten), 130 stopped by Ctrl-C.
    """
    with exit_codes():
        plan = Plan(
            rates=parse_numbers("--rates", rates),
            epochs=epochs,
            hidden=parse_numbers("--hidden", hidden, int),
            batch=batch,
            learning_rate=learning_rate,
            seed=seed,
            device=device,
            precision=precision,
            methods=parse_names(methods),
            groups=groups,
        )
        limit = None if budget is None else parse_budget(budget)
        from thinnet.study.command import Request, conduct

        named = None if task is None else task.value
        request = Request(file, target, named, plan, seeds, limit, cores() if jobs is None else jobs, out, as_json)
        raise typer.Exit(conduct(request))
