"""`thinnet.study.run`: a study from Python and notebooks."""

from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from thinnet.study.design.configuration import ALL, CONSTANT, DROPOUT
from thinnet.study.design.plan import StudyError
from thinnet.study.design.problems import path_of
from thinnet.study.options import rank_and_ranks
from thinnet.study.request import requested

if TYPE_CHECKING:
    import pandas as pd

    from thinnet.study.study import Study

Names = str | Sequence[str]


def run(
    problem: "str | PathLike[str] | pd.DataFrame | None" = None,
    *,
    target: str | None = None,
    columns: Mapping[str, str] | None = None,
    task: str | None = None,
    weights: str | PathLike[str] | None = None,
    rates: str | Sequence[float] | None = None,
    methods: Names = DROPOUT,
    places: Names = ALL,
    schedules: Names = CONSTANT,
    against: Names = (),
    seeds: int | None = None,
    budget: str | float | None = None,
    out: str | PathLike[str] | None = None,
    jobs: int = 1,
    epochs: int | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    hidden: Sequence[int] = (128, 128),
    quiet: bool = False,
    **more: Any,
) -> "Study":
    """Measures whether dropout helps on a problem, at which rate, and how certain that is: `thinnet study` as a function.

    Args:
        problem: a path or a name as the command takes it, a pandas DataFrame, or None for scikit-learn's digits.
        target: the column of a table to predict.
        columns: the kind of a column by its name: number, date, category or skip.
        task: `classification` or `regression`; inferred when None.
        weights: a folder with a trained transformer, for texts by class and for `finetune`.
        rates, epochs, batch, learning_rate: None takes those of the problem.
        methods, places, schedules, against: what is compared, as lists of names.
        seeds: trials of each finalist; None is 8, or 16 for `toy` and `regression`.
        budget: seconds, or text such as "2m".
        out: the folder of trials, weights, report and `result.json`; a second call with the same folder resumes.
        jobs: processes. With more than one, a script must call this under `if __name__ == "__main__":`.
        hidden: the widths of the perceptron.
        quiet: print nothing.
        more: `seed`, `device`, `precision`, `groups`, `rows`, `full` and `retry_failed`, as of the command.

    Returns: the result, which a notebook shows as tables and figures. Its `document` equals `result.json`.

    Raises:
        StudyError: a mistake in the arguments or in the data, in one sentence.

    Example:
        >>> import tempfile, thinnet.study
        >>> study = thinnet.study.run("toy", rates=[0.1], seeds=1, epochs=2, out=tempfile.mkdtemp(), quiet=True)
        >>> study.verdict.headline
        'No answer yet: the evidence needs at least 8 seeds.'
        >>> len(study.document["configurations"]), study.report.name
        (2, 'index.html')
    """
    if rank_and_ranks()[1] > 1:
        raise StudyError("torchrun", "the command must run the study", "thinnet.study.run", "Run torchrun -m thinnet study.")
    request = requested(
        path_of(fspath(problem)) if isinstance(problem, str | PathLike) else problem,
        target=target,
        columns=[f"{name}={kind}" for name, kind in (columns or {}).items()],
        task=task,
        weights=None if weights is None else Path(weights),
        seeds=seeds,
        budget=budget,
        jobs=jobs,
        out=None if out is None else Path(out),
        command="thinnet.study.run(...)",
        given={"rates": rates, "epochs": epochs, "batch": batch, "learning_rate": learning_rate},
        hidden=hidden,
        methods=methods,
        places=places,
        schedules=schedules,
        against=against,
        **more,
    )
    from thinnet.study.study import conduct

    return conduct(request, Console(stderr=True, highlight=False, quiet=quiet))
