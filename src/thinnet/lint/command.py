"""`thinnet lint`: the arguments, and what comes out."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from thinnet.lint import run
from thinnet.lint.cache import Cache
from thinnet.lint.engine import Unreadable, check, mend
from thinnet.lint.files import decode, find
from thinnet.lint.formats import FORMATS, statistics
from thinnet.lint.pages import explain as explained
from thinnet.lint.run import Outcome, without_ignored
from thinnet.lint.settings import BadInput, Settings, load

CLEAN, FOUND, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STDIN = Path("-")


class Format(str, Enum):
    """How findings are printed."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        typer.echo(error, err=True)
        raise typer.Exit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def lint(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files and folders: .py, .md and .rst; `-` reads Python from stdin. Default: `.`"),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without changing training.")] = False,
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Mend what needs a look afterwards, too.")] = False,
    select: Annotated[str | None, typer.Option(help="Codes or their beginnings to look for: THN1,THN301.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Codes or their beginnings to leave out.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Look for what is less certain, too.")] = False,
    output: Annotated[Format, typer.Option("--format", help="How findings are printed.")] = Format.text,
    counts: Annotated[bool, typer.Option("--statistics", help="Print the number of findings a rule.")] = False,
    explain: Annotated[str | None, typer.Option(help="Print what a rule is about, such as THN101, and leave.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes side by side. Default: the cores.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write .thinnet_cache.")] = False,
) -> None:
    """Finds dropout mistakes in source files, without running them.

    Follows names through imports, through what is bound once and through `self.x`, and is silent where it cannot be sure.
    `# noqa: THN101` silences a line, `[tool.thinnet.lint]` in pyproject.toml a project.

    Example: `thinnet lint src --fix`

    Exit codes: 0 clean, 1 findings, 2 bad input, 130 stopped by Ctrl-C.
    """
    with _exit_codes():
        if explain is not None:
            raise typer.Exit(_explain(explain))
        options = {"select": _codes(select), "ignore": _codes(ignore), "preview": preview or None}
        settings = load(Path.cwd(), options)
        wanted = "unsafe" if unsafe_fixes else "safe" if fix else None
        if paths == [STDIN]:
            raise typer.Exit(_stdin(settings, wanted, output))
        files = list(find(paths or [Path()], settings))
        cache = Cache(None if no_cache else settings.root, settings.rules())
        outcomes = run.lint(files, settings, cache, wanted, jobs or run.cores())
        raise typer.Exit(_show(outcomes, statistics if counts else FORMATS[output.value]))


def _codes(text: str | None) -> list[str] | None:
    return None if text is None else [code.strip() for code in text.split(",") if code.strip()]


def _explain(prefix: str) -> int:
    page = explained(prefix)
    if page is None:
        raise BadInput(f"lint: --explain must be a code, its beginning or a name; got {prefix!r}. THN lists them all.")
    typer.echo(page)
    return CLEAN


def _show(outcomes: Sequence[Outcome], shown: Callable[[Sequence[Outcome]], str]) -> int:
    for outcome in outcomes:
        if outcome.trouble:
            typer.echo(f"{outcome.path}: passed over: {outcome.trouble}", err=True)
    typer.echo(shown(outcomes), nl=False)
    return FOUND if any(outcome.findings for outcome in outcomes) else CLEAN


def _stdin(settings: Settings, fix: str | None, output: Format) -> int:
    """Looks at stdin; with a fix the mended text goes to stdout, and the findings to stderr."""
    mended = 0
    try:
        text, encoding = decode(sys.stdin.buffer.read())
        if fix:
            text, mended = mend(text, settings.rules(), ".py", unsafe=fix == "unsafe")
            sys.stdout.buffer.write(text.encode(encoding))
        outcome = Outcome(STDIN, tuple(check(text, settings.rules())), None, mended)
    except Unreadable as error:
        raise BadInput(f"lint: stdin cannot be read: {error}") from None
    outcome = without_ignored(outcome, settings)
    typer.echo(FORMATS[output.value]([outcome]), nl=False, err=fix is not None)
    return FOUND if outcome.findings else CLEAN
