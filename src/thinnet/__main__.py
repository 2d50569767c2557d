"""`python -m thinnet` and the `thinnet` command."""

import sys


def main() -> None:
    """Run the command line. Without the libraries of the study extra, name the extra and exit with 2."""
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
