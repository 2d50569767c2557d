"""`thinnet study`: run a study and print its result."""

import sys

from rich.console import Console

from thinnet.study.report.console import print_results
from thinnet.study.report.outputs import RESULT
from thinnet.study.request import Request
from thinnet.study.study import conduct

DONE, INTERRUPTED = 0, 130


def run_study(request: Request, as_json: bool = False) -> int:
    """Run the whole study, print its result, and return the exit code.

    Raises:
        StudyError: an error that the caller can correct.
        ModuleNotFoundError: a library of the study extra is missing.
    """
    try:
        study = conduct(request, Console(stderr=True, highlight=False))
    except KeyboardInterrupt:
        return INTERRUPTED
    if as_json:
        sys.stdout.write((request.out / RESULT).read_text(encoding="utf-8"))
        return DONE
    out = Console(highlight=False)
    print_results(out, study.results, study.data, study.verdict)
    out.print(f"The report: {study.report.resolve()}", soft_wrap=True)
    return DONE
