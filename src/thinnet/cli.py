"""The `thinnet` command: its subcommands and their arguments."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from thinnet.arguments import Inputs, ModelArgument, Passes
from thinnet.benchmark.command import bench
from thinnet.playground.command import playground
from thinnet.report.findings import Format
from thinnet.report.help import Command, Commands
from thinnet.report.terminal import show
from thinnet.reproductions.cli import reproduce
from thinnet.study.cli import study
from thinnet.study.workers.command import status, work

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
        from thinnet.doctor.facts import version_line

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


@app.command(cls=Command)
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show what runs on this machine, check its random bits against the reference, and say what to do next.

    It shows versions, kernels, devices, threads, the compiler, and the optional extras.

    Example: `thinnet doctor --json`

    Exit codes: 0 the bits are right, 1 bits are wrong, or the compiled kernels do not load.
    """
    from thinnet.doctor.command import show_facts

    raise typer.Exit(show_facts(as_json))


@app.command(cls=Command)
def build(force: Annotated[bool, typer.Option("--force", help="Compile them even if they are there.")] = False) -> None:
    """Compile the CPU kernels, where the package came without them, and check their bits.

    It needs a C++20 compiler and takes up to a minute. The kernels go to the cache folder of the user. They serve every
    later PyTorch on this architecture.

    Example: `thinnet build`

    Exit codes: 0 the kernels are there and their bits are right, 1 bits are wrong, 2 it cannot compile.
    """
    from thinnet.doctor.command import compile_kernels

    raise typer.Exit(compile_kernels(force))


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
app.command(cls=Command)(study)
app.command(cls=Command)(reproduce)
app.command("study work", cls=Command, hidden=True)(work)
app.command("study status", cls=Command, hidden=True)(status)


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
    ranks: Annotated[bool, typer.Option("--ranks", help="Compare the ranks of torchrun instead.")] = False,
    output: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Run a model and find mistakes in its dropout: on in eval mode, off in training, a wrong rate or a wrong place.

    `--input` is required, because the audit runs the model.

    Example: `thinnet audit train.py:make_model --input 64x784`

    Exit codes: 0 no errors or warnings, 1 errors or warnings, 2 bad input, 130 stopped by Ctrl-C.
    """
    from thinnet.models.command import show_findings

    raise typer.Exit(show_findings(model, inputs or [], passes, allow or [], Format.json if as_json else output, ranks))


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
