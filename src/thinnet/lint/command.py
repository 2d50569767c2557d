"""The command `thinnet lint`."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from thinnet.lint.cache import Cache
from thinnet.lint.documentation import explain as explained
from thinnet.lint.engine import UnreadableSource, check, fix
from thinnet.lint.files import decode, find
from thinnet.lint.run import FileResult, lint_files, without_ignored
from thinnet.lint.settings import BadInput, Settings, load
from thinnet.lint.summary import skipped, statistics, summary
from thinnet.report.findings import Findings, Format
from thinnet.report.machine import cores

CLEAN, FOUND, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STDIN = Path("-")


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
        typer.Argument(help="Files or folders with .py, .ipynb, .md and .rst files. `-` reads Python from stdin. Default: `.`"),
    ] = None,
    apply_fixes: Annotated[bool, typer.Option("--fix", help="Apply fixes that do not change training.")] = False,
    unsafe_fixes: Annotated[bool, typer.Option("--unsafe-fixes", help="Also apply fixes that need a review.")] = False,
    select: Annotated[str | None, typer.Option(help="Rules to apply, by code or prefix: THN1,THN301.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Rules to ignore, by code or prefix.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Also apply rules in preview, which have more false positives.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="The output format.")] = Format.text,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    counts: Annotated[bool, typer.Option("--statistics", help="Print the number of findings of each rule.")] = False,
    explain: Annotated[
        str | None, typer.Option(help="Print the documentation of a rule, such as THN101. THN lists all rules.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Number of processes. Default: the number of cores.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Do not read or write .thinnet_cache.")] = False,
) -> None:
    """Find dropout mistakes in source files without running them.

    It follows names, attributes, parameters and configurations within a file. If a name is ambiguous, it reports nothing.
    To silence a rule on a line, write `# noqa: THN101`. Settings are in `[tool.thinnet.lint]` of pyproject.toml.

    Example: `thinnet lint src --fix`

    Exit codes: 0 clean, 1 findings, 2 bad input, 130 stopped by Ctrl-C.
    """
    with _exit_codes():
        output = Format.json if as_json else output
        if explain is not None:
            raise typer.Exit(_explain(explain))
        options = {"select": _codes(select), "ignore": _codes(ignore), "preview": preview or None}
        settings = load(Path.cwd(), options)
        fixes = "unsafe" if unsafe_fixes else "safe" if apply_fixes else None
        if paths == [STDIN]:
            raise typer.Exit(_lint_stdin(settings, fixes, output))
        files = list(find(paths or [Path()], settings))
        cache = Cache(None if no_cache else settings.root, settings.rules(), settings.preview)
        results = lint_files(files, settings, cache, fixes, jobs or cores())
        for line in skipped(results):
            typer.echo(line, err=True)
        _print(statistics(results) if counts else _rendered(results, output))
        raise typer.Exit(_exit_code(results))


def _codes(text: str | None) -> list[str] | None:
    return None if text is None else [code.strip() for code in text.split(",") if code.strip()]


def _explain(prefix: str) -> int:
    page = explained(prefix)
    if page is None:
        message = (
            f"lint: --explain must be the code, prefix or name of a rule; got {prefix!r}. `--explain THN` lists all rules."
        )
        raise BadInput(message)
    typer.echo(page)
    return CLEAN


def _rendered(results: Sequence[FileResult], output: Format) -> str:
    unread = {str(result.path): result.error for result in results if result.error}
    findings = Findings((finding for result in results for finding in result.findings), "thinnet lint", unread)
    return "\n".join([*map(str, findings), summary(results)]) if output is Format.text else findings.render(output)


def _print(text: str, to_stderr: bool = False) -> None:
    if text:
        typer.echo(text, err=to_stderr)


def _exit_code(results: Sequence[FileResult]) -> int:
    return FOUND if any(result.findings for result in results) else CLEAN


def _lint_stdin(settings: Settings, fixes: str | None, output: Format) -> int:
    """Checks stdin. With fixes, the fixed text goes to stdout and the findings go to stderr."""
    fixed = 0
    try:
        text, encoding = decode(sys.stdin.buffer.read())
        if fixes:
            text, fixed = fix(text, settings.rules(), str(STDIN), unsafe=fixes == "unsafe", preview=settings.preview)
            sys.stdout.buffer.write(text.encode(encoding))
        result = FileResult(STDIN, tuple(check(text, settings.rules(), str(STDIN), settings.preview)), None, fixed)
    except UnreadableSource as error:
        raise BadInput(f"lint: stdin cannot be read: {error}") from None
    result = without_ignored(result, settings)
    _print(_rendered([result], output), to_stderr=fixes is not None)
    return _exit_code([result])
