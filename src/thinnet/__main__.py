"""`python -m thinnet` and the `thinnet` command."""

import os
import sys
from io import TextIOWrapper

from thinnet.report.extras import MissingLibrary, extra_of

CLOSED_PIPE, BAD_INPUT, INTERRUPTED = 1, 2, 130
WITHOUT_TYPER = ["--version"], ["doctor"], ["doctor", "--json"], ["build"], ["build", "--force"]


def main() -> None:
    """Run the command line. A missing library is one sentence, and Ctrl-C and a closed pipe are silent."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a character shows a question mark
    try:
        _run(sys.argv[1:])
    except ModuleNotFoundError as error:
        message = _advice(error, sys.argv[1:])
        if message is None:
            raise
        sys.stderr.write(f"{message}\n")
        raise SystemExit(BAD_INPUT) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more at exit
        raise SystemExit(CLOSED_PIPE) from None


def _run(arguments: list[str]) -> None:
    try:
        from thinnet.cli import app
    except ModuleNotFoundError:
        if arguments not in WITHOUT_TYPER:
            raise
        _installation(arguments[0], bool(arguments[1:]))
    else:
        app(prog_name="thinnet")
    finally:
        sys.stdout.flush()


def _installation(command: str, option: bool) -> None:
    """Run what needs torch alone, with its only option or without."""
    from thinnet.doctor import command as commands

    if command == "--version":
        sys.stdout.write(commands.version_line() + "\n")
    else:
        raise SystemExit(commands.show_facts(option) if command == "doctor" else commands.compile_kernels(option))


def _advice(error: ModuleNotFoundError, arguments: list[str]) -> str | None:
    """Return the sentence on a library of an extra that is not installed; None for any other module."""
    if isinstance(error, MissingLibrary):
        return str(error)
    command = arguments[0] if arguments and arguments[0].isidentifier() else ""
    library = (error.name or "").partition(".")[0]
    extra = extra_of(library, "lint" if command == "lint" else "study")
    if extra is None:
        return None
    more = " Without it, `thinnet --version`, `thinnet doctor` and `thinnet build` work." if command == "" else ""
    name = f"thinnet {command}".strip()
    return f"{name}: {library} must be installed; it is not. Run pip install 'thinnet[{extra}]'.{more}"


if __name__ == "__main__":
    main()
