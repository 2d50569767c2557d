"""`python -m thinnet` and the `thinnet` command."""

import sys


def main() -> None:
    """Runs the command line; without the libraries of the study extra it says how to get them and exits with 2."""
    try:
        from thinnet.cli import app

        app(prog_name="thinnet")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "thinnet":
            raise
        sys.stderr.write("thinnet: the commands need the study extra: pip install 'thinnet[study]'\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
