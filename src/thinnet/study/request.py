"""What is asked of a study: the same for the command and for `thinnet.study.run`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinnet.study.options import folder_of, plan_of
from thinnet.study.plan import Plan, StudyError, parse_budget
from thinnet.study.reading import Opened, open_problem

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Request:
    """A study: the problem and the plan determine the numbers of a configuration, the rest how many there are and where.

    Args:
        problem: read as far as that needs no PyTorch.
        plan: the settings.
        seeds: the number of seeds of a finalist.
        budget: seconds; None is no limit.
        jobs: the number of processes.
        out: the folder.
        command: what runs it again.
        log: `tensorboard` writes event files of every trial.
    """

    problem: Opened
    plan: Plan
    seeds: int
    budget: float | None
    jobs: int
    out: Path
    command: str
    log: str | None = None


def requested(
    file: "Path | pd.DataFrame | None",
    *,
    target: str | None = None,
    columns: Sequence[str] = (),
    task: str | None = None,
    weights: Path | None = None,
    seeds: int = 8,
    budget: str | float | None = None,
    jobs: int = 1,
    out: Path | None = None,
    command: str,
    log: str | None = None,
    given: Mapping[str, Any],
    **more: Any,
) -> Request:
    """Check all options and read the problem.

    Args:
        file, target, task, weights: as `open_problem` takes them.
        columns: the kinds of columns, each NAME=KIND.
        seeds, jobs, command, log: as of a Request.
        budget: seconds, or text such as 2m.
        out: the folder; None derives it from the file.
        given: options whose default depends on the problem, or None.
        more: the other settings of the plan.

    Raises:
        StudyError: an option, or what the file holds.
    """
    for option, value in (("--seeds", seeds), ("--jobs", jobs)):
        if value < 1:
            raise StudyError(option, "the number must be at least 1", value, "Use a positive number.")
    plan_of({}, given, **more)  # a wrong option is refused before a large file is read
    limit = None if budget is None else parse_budget(str(budget))
    kinds = {}
    if columns:
        from thinnet.study.tables import parse_kinds

        kinds = parse_kinds(columns)
    problem = open_problem(file, target, kinds, task, weights)
    plan = plan_of(problem.settings(), given, **more)
    return Request(problem, plan, seeds, limit, jobs, folder_of(file) if out is None else out, command, log)
