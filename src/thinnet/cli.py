"""The `thinnet` command: its subcommands and their arguments."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thinnet.arguments import Elsewhere, Inputs, LogName, ModelArgument, Passes, TaskName, value
from thinnet.benchmark.command import bench
from thinnet.playground.command import playground
from thinnet.report.findings import Format
from thinnet.report.help import Command, Commands
from thinnet.report.machine import cores
from thinnet.report.mistakes import Mistake
from thinnet.report.terminal import show
from thinnet.study.configuration import ALL, CONSTANT, DROPOUT, METHODS, RIVALS, SCHEDULES
from thinnet.study.problems import PROBLEMS

ABOUT = """Dropout for PyTorch: list methods, inspect a model, find mistakes, and measure whether dropout helps on your data.

Example: `thinnet audit train.py:make_model --input 64x784`

| exit code | meaning |
| --- | --- |
| 0 | done; no errors or warnings |
| 1 | audit and lint: errors, warnings or findings |
| 2 | bad input; one sentence on stderr says what to change |
| 130 | stopped by Ctrl-C |
"""


HELP = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    cls=Commands,
    help=ABOUT,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings=HELP,
)


def show_version(wanted: bool) -> None:
    """Print the version and the kernels of each device, and exit."""
    if wanted:
        from thinnet.doctor import version_line

        typer.echo(version_line())
        raise typer.Exit()


@app.callback(help=ABOUT)
def common(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=show_version, is_eager=True, help="Show the version, and the kernels that each device uses."
        ),
    ] = False,
) -> None:
    """Options before the subcommand."""


@contextmanager
def exit_codes() -> Iterator[None]:
    """Turn an error that the caller can correct into one sentence and exit code 2, and Ctrl-C into 130."""
    try:
        yield
    except Mistake as error:
        typer.echo(error, err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command(cls=Command)
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show the facts about this installation: versions, kernels, devices, threads, and the optional extras.

    Example: `thinnet doctor --json`

    Exit codes: 0 shown.
    """
    from thinnet.doctor import report

    typer.echo(report(as_json))


@app.command(cls=Command)
def methods(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A method, such as DropBlock2d. Default: list all methods.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: a list, or one object for NAME.")] = False,
) -> None:
    """List the dropout methods, or show one: equation, when to use it, a rate to start with, cost, and a picture.

    The usual other names work too, such as "mc dropout", "spatial dropout" or "stochastic depth".

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
        typer.echo(json.dumps(found, indent=1))
        return
    if chosen is None:
        show(catalogue.listing())
    else:
        Console().print(catalogue.card(chosen))


app.command(cls=Command)(bench)
app.command(cls=Command)(playground)


@app.command(cls=Command)
def sites(
    model: ModelArgument,
    inputs: Inputs = None,
    passes: Passes = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")] = False,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a page with the tree of modules to this file. Sites are coloured by rate."),
    ] = None,
) -> None:
    """List every stochastic operation of a model: where it is, how much it drops, and in which mode it is on.

    Without `--input` the model does not run, and the list has only the rates that modules declare.

    Example: `thinnet sites train.py:make_model --input 4x3x32x32 --html sites.html`

    Exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C.
    """
    from thinnet.models.command import show_sites

    raise typer.Exit(show_sites(model, inputs or [], passes, as_json, html))


@app.command(cls=Command)
def recommend(
    model: ModelArgument,
    inputs: Inputs = None,
    samples: Annotated[int | None, typer.Option(min=1, metavar="N", help="The number of training samples.")] = None,
    one_pass: Annotated[bool, typer.Option("--one-pass", help="Each sample is seen once, as in pretraining.")] = False,
    fine_tuning: Annotated[bool, typer.Option("--fine-tuning", help="Training starts from pretrained weights.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")] = False,
) -> None:
    """List the methods that helped networks like this one: where, by how much, in which paper, and how to test them on yours.

    The kind of the network follows from its modules and its dropout sites; `--input` finds sites that no module declares.

    Example: `thinnet recommend train.py:make_model --input 4x3x32x32 --samples 50000`

    Exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C.
    """
    from thinnet.models.command import show_recommendations

    known = {"samples": samples, "one_pass": one_pass, "fine_tuning": fine_tuning}
    raise typer.Exit(show_recommendations(model, inputs or [], known, as_json))


@app.command(cls=Command)
def audit(
    model: ModelArgument,
    inputs: Inputs = None,
    passes: Passes = 8,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'CODE MODULE=REASON'",
            help="Accept a finding: 'AUD101 decoder.prenet*=reason'. Repeat it for several findings.",
        ),
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Run a model and find mistakes in its dropout: on in eval mode, off in training, a wrong rate or a wrong place.

    `--input` is required, because the audit runs the model.

    Example: `thinnet audit train.py:make_model --input 64x784`

    Exit codes: 0 no errors or warnings, 1 errors or warnings, 2 bad input, 130 stopped by Ctrl-C.
    """
    from thinnet.models.command import show_findings

    raise typer.Exit(show_findings(model, inputs or [], passes, allow or [], Format.json if as_json else output))


@app.command(
    cls=Command,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def lint(context: typer.Context) -> None:
    """Find dropout mistakes in source files without running them. See `thinnet lint --help`.

    Example: `thinnet lint src`

    Exit codes: 0 no findings, 1 findings, 2 bad input.
    """
    from thinnet.lint.command import lint as command  # LibCST would slow every other command down

    linter = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False)
    linter.command(cls=Command, context_settings=HELP)(command)
    linter(args=context.args, prog_name="thinnet lint")


@app.command(cls=Command)
def study(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="A table (.csv, .tsv, .parquet, .npz); a folder of pictures or texts by class; MNIST or CIFAR files; a text "
            f"(.txt); a .py file with model() and data(); or one of {', '.join(PROBLEMS)}. Default: digits."
        ),
    ] = None,
    target: Annotated[str | None, value("NAME", "The column to predict, or the array in an .npz file.")] = None,
    column: Annotated[
        list[str] | None,
        value("NAME=KIND", "Read a column as number, date or category, or skip it: 'zip=category'. Repeatable."),
    ] = None,
    task: Annotated[TaskName | None, typer.Option(help="The task. Default: inferred from the target.")] = None,
    weights: Annotated[
        Path | None, value("FOLDER", "For texts by class and finetune: fine-tune the transformer that is saved in a folder.")
    ] = None,
    rates: Annotated[
        str | None,
        value("P,P,...", "Rates to compare, in [0, 1); 0 is always added. Default: 0.1 to 0.9, or those of the problem."),
    ] = None,
    seeds: Annotated[
        int, value("N", "Trials per rate; an interval needs 3. To add seeds later, run again with a larger number.")
    ] = 8,
    budget: Annotated[
        str | None,
        value("TIME", "Take about this time, such as 90s, 2m or 1h; with fewer epochs or rows where it is short."),
    ] = None,
    out: Annotated[
        Path | None, value("FOLDER", "Output folder: report, trials and weights. Default: report, or NAME-report with a FILE.")
    ] = None,
    jobs: Annotated[int | None, value("N", "Parallel processes. They do not change any number. Default: all cores.")] = None,
    seed: Annotated[int, value("N", "Seed of the split and of all initial weights, batches and masks.")] = 0,
    epochs: Annotated[int | None, value("N", "Epochs, the same for every rate. Default: 100, or those of the problem.")] = None,
    rows: Annotated[
        int | None, value("N", "Use so many samples for training and validation. Default: all, or what --budget allows.")
    ] = None,
    hidden: Annotated[str, value("N,N,...", "Widths of the hidden layers, separated by commas.")] = "128,128",
    batch: Annotated[int | None, value("N", "Batch size. Default: 64, or that of the problem.")] = None,
    learning_rate: Annotated[float | None, value("X", "Learning rate of Adam. Default: 0.001, or that of the problem.")] = None,
    device: Annotated[str, value("NAME", "Device: cpu, cuda, mps or auto.")] = "cpu",
    precision: Annotated[str, value("NAME", "Precision, such as 32-true or bf16-mixed.")] = "32-true",
    methods: Annotated[
        str,
        value("NAMES", f"Methods to train at every rate, among {', '.join(METHODS)}; the first is the reference."),
    ] = DROPOUT,
    places: Annotated[
        str, value("NAMES", "Where to drop: all, or patterns of dropout sites joined by +: 'all,hidden1,input+all'.")
    ] = ALL,
    schedules: Annotated[str, value("NAMES", f"Schedules of the rate, among {', '.join(SCHEDULES)}.")] = CONSTANT,
    against: Annotated[str, value("NAMES", f"What to compare dropout with: {', '.join(RIVALS)}.")] = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="Train every configuration on all seeds. Default: of more than 6, drop the worse early."),
    ] = False,
    groups: Annotated[
        int, value("N", "Only for thin: the number of groups in a batch. The samples of a group share a mask.")
    ] = 1,
    log: Annotated[LogName | None, typer.Option(help="Write the curves of every trial for TensorBoard, into --out.")] = None,
    storage: Annotated[
        str | None, value("URL", "A database for workers on other machines: postgresql://USER@HOST/NAME or sqlite:///FILE.")
    ] = None,
    on: Annotated[
        Elsewhere | None, typer.Option(help="With --storage: start the --jobs workers as Ray tasks or Slurm jobs.")
    ] = None,
    address: Annotated[str | None, value("HOST:PORT", "The cluster of Ray. Default: this machine.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only the result, as JSON, on stdout.")] = False,
) -> None:
    """Measure whether dropout helps on your data, at which rate, and how certain that is.

    It trains the same network in every configuration (method, place, rate, schedule) over several seeds, and chooses one on
    the validation sets. Then it compares that one with no dropout on the test set. For each seed, all configurations share
    the split into training and validation, initial weights, batches and random bits.
    To resume an interrupted study, run the same command again.

    Example: `thinnet study patients.csv --target outcome --budget 10m --out outcome-report`

    See how dropout works on a toy function: `thinnet study toy`

    Study your own model: `thinnet study my.py`, where my.py defines `model()` and `data()`.

    Compare places, and rivals: `thinnet study --rates 0.2,0.5 --places all,input --against weight_decay --out rivals-report`

    Use several machines: add `--storage postgresql://me@host/studies`, and run `thinnet study work` on the others.
    `thinnet study status` shows what is done.

    Exit codes: 0 done, 2 bad input or a full disk (nothing is lost), 130 stopped by Ctrl-C.
    """
    with exit_codes():
        from thinnet.study.request import requested

        request = requested(
            file,
            target=target,
            columns=column or (),
            task=task and task.value,
            weights=weights,
            seeds=seeds,
            budget=budget,
            jobs=cores() if jobs is None else jobs,
            out=out,
            command=shlex.join(["thinnet", *sys.argv[1:]]),
            given={"rates": rates, "epochs": epochs, "batch": batch, "learning_rate": learning_rate},
            hidden=hidden,
            seed=seed,
            device=device,
            precision=precision,
            methods=methods,
            places=places,
            schedules=schedules,
            against=against,
            full=full,
            rows=rows,
            groups=groups,
            log=log and log.value,
            storage=storage,
            on=on and on.value,
            address=address,
        )
        from thinnet.study.command import run_study  # after the checks, as it imports PyTorch
        from thinnet.study.disk import disk_errors

        with disk_errors(request.out):
            raise typer.Exit(run_study(request, as_json))


STORAGE = value("URL", "The database of the study: postgresql://USER@HOST/NAME or sqlite:///FILE.")


@app.command("study work", cls=Command, hidden=True)
def study_work(
    storage: Annotated[str, STORAGE],
    study: Annotated[str | None, value("NAME", "The study to work on. Default: every open one.")] = None,
    data: Annotated[
        Path | None,
        value("PATH", "The data on this machine. Default: the path on the first machine, or a copy from the database."),
    ] = None,
    wait: Annotated[str, value("TIME", "How long to wait for a study to appear.")] = "60s",
) -> None:
    """Train trials of a study that `thinnet study --storage` has begun, until it is done. Start as many as you like.

    Ctrl-C, `kill` and `kill -9` lose nothing: another worker trains the trial.

    Example: `thinnet study work --storage postgresql://me@host/studies`

    Exit codes: 0 done, 2 bad input, such as other data than those of the study, 130 stopped by Ctrl-C.
    """
    with exit_codes():
        from thinnet.study.plan import parse_budget

        seconds = parse_budget(wait)
        from thinnet.study.workers.serve import serve

        number = serve(storage, study, data, seconds, Console(stderr=True, highlight=False))
        typer.echo(f"{number} trials trained.")


@app.command("study status", cls=Command, hidden=True)
def study_status(
    storage: Annotated[str, STORAGE],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what every study in a database has done, by which workers, and what is left.

    Example: `thinnet study status --storage postgresql://me@host/studies`

    Exit codes: 0 done, 2 bad input.
    """
    with exit_codes():
        from thinnet.study.workers.serve import print_status, status

        found = status(storage)
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            print_status(Console(highlight=False), found)
