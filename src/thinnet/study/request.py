"""What is asked of a study: the same for the command and for `thinnet.study.run`."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thinnet.study.data.reading import Asked, Opened, open_problem
from thinnet.study.design.plan import Plan, StudyError, parse_budget
from thinnet.study.design.problems import seeds_for
from thinnet.study.options import folder_of, plan_of, rank_and_ranks

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
        asked: what another machine needs to read the same data; None for a DataFrame.
        storage: the URL of the database that workers share; None for SQLite in the folder.
        on: where workers start: ray or slurm; None for processes of this machine.
        address: of the cluster of Ray.
        retry_failed: train the failed trials again.
        started: when the run began, before the data were read; the budget counts from there.
    """

    problem: Opened
    plan: Plan
    seeds: int
    budget: float | None
    jobs: int
    out: Path
    command: str
    log: str | None = None
    asked: Asked | None = None
    storage: str | None = None
    on: str | None = None
    address: str | None = None
    retry_failed: bool = False
    started: float = field(default_factory=time.monotonic)


def requested(
    file: "Path | pd.DataFrame | None",
    *,
    target: str | None = None,
    columns: Sequence[str] = (),
    task: str | None = None,
    weights: Path | None = None,
    seeds: int | None = None,
    budget: str | float | None = None,
    jobs: int = 1,
    out: Path | None = None,
    command: str,
    log: str | None = None,
    storage: str | None = None,
    on: str | None = None,
    address: str | None = None,
    retry_failed: bool = False,
    given: Mapping[str, Any],
    **more: Any,
) -> Request:
    """Checks all options and reads the problem.

    Args:
        file, target, task, weights: as `open_problem` takes them.
        columns: the kinds of columns, each NAME=KIND.
        seeds, jobs, command, log, storage, on, address, retry_failed: as of a Request; None are the seeds of the problem.
        budget: seconds, or text such as 2m.
        out: the folder; None derives it from the file.
        given: options whose default depends on the problem, or None.
        more: the other settings of the plan.

    Raises:
        StudyError: an option, or what the file holds.
    """
    started = time.monotonic()
    seeds = seeds_for(file) if seeds is None else seeds
    for option, value, least in (("--seeds", seeds, 1), ("--jobs", jobs, 1 if storage is None else 0)):
        if value < least:
            raise StudyError(option, "the number must be at least 1", value, "Use a positive number.")
    asked = None
    if file is None or isinstance(file, Path):
        asked = Asked(file and str(file), target, tuple(columns), task, weights and str(weights))
    elif storage is not None:
        raise StudyError(
            "--storage", "the data must be a file that other machines can read", "a DataFrame", "Save it as a file."
        )
    if on is not None and storage is None:
        raise StudyError(
            "--on", "workers elsewhere must share a database", f"{on} without one", "Add --storage postgresql://..."
        )
    if rank_and_ranks()[1] > 1 and (jobs != 1 or on is not None):
        got = "--on" if on is not None else f"--jobs {jobs}"
        raise StudyError("torchrun", "all ranks train one trial at a time", got, "Leave --jobs and --on out.")
    plan_of({}, given, **more)  # a wrong option is refused before a large file is read
    limit = None if budget is None else parse_budget(str(budget))
    kinds = {}
    if columns:
        from thinnet.study.data.tables import parse_kinds

        kinds = parse_kinds(columns)
    problem = open_problem(file, target, kinds, task, weights)
    plan = plan_of(problem.settings(), given, **more)
    folder = folder_of(file) if out is None else out
    return Request(problem, plan, seeds, limit, jobs, folder, command, log, asked, storage, on, address, retry_failed, started)
