"""`thinnet study`, from the request to the report."""

import json
import shlex
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from thinnet.report.extras import need
from thinnet.report.formatting import counted
from thinnet.report.page import write
from thinnet.study.builtin import load
from thinnet.study.console import print_data, print_results, show_progress
from thinnet.study.dataset import Dataset
from thinnet.study.document import document
from thinnet.study.halving import current_look, trials_in_all
from thinnet.study.lesson import Lesson, lesson
from thinnet.study.network import check_configurations
from thinnet.study.plan import Plan, StudyError, whole_rounds
from thinnet.study.preparing import prepare
from thinnet.study.problems import DIGITS, PROBLEMS, file_of
from thinnet.study.report import report
from thinnet.study.results import Results, summarize
from thinnet.study.runner import run
from thinnet.study.store import Store
from thinnet.study.tables import read_table
from thinnet.study.trial import fabric_for
from thinnet.study.user_data import load_file
from thinnet.study.user_file import open_file
from thinnet.study.verdict import Verdict, judge

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
REPORT, RESULT = "index.html", "result.json"


@dataclass(frozen=True)
class Request:
    """The arguments of the command: the plan determines the numbers of a configuration, the rest how many and where."""

    file: Path | None
    target: str | None
    kinds: Mapping[str, str]
    task: str | None
    plan: Plan
    seeds: int
    budget: float | None
    jobs: int
    out: Path
    as_json: bool

    def __post_init__(self) -> None:
        for option, value in (("--seeds", self.seeds), ("--jobs", self.jobs)):
            if value < 1:
                raise StudyError(option, "the number must be at least 1", value, "Use a positive number.")


def run_study(request: Request) -> int:
    """Run the whole study and return the exit code.

    Raises:
        StudyError: an error that the caller can correct.
        ModuleNotFoundError: a library of the study extra is missing.
    """
    for library in ("jinja2", "plotly"):  # the report needs them at the end; a missing one stops the run at once
        need(library, "study")
    err = Console(stderr=True, highlight=False)
    with err.status("reading the data"):
        data = _load(request)
        fabric_for(request.plan)
        check_configurations(data, request.plan)
        store = Store(request.out, _identity(data, request.plan))
    try:
        seeds = _train(request, data, store, err)
        results = summarize(data, request.plan, store, seeds)
        seen = lesson(data, request.plan, store, results)
    except KeyboardInterrupt:
        kept = f"{counted(len(store.finished()), 'finished trial')} in {request.out}"
        err.print(f"Stopped, with {kept}. The same command resumes from there.", soft_wrap=True)
        return INTERRUPTED
    finally:
        store.close()
    _publish(request, data, results, judge(results, data), seen)
    return DONE


def _identity(data: Dataset, plan: Plan) -> dict[str, Any]:
    """Return the settings that two runs in one folder must share: all but seeds, jobs and budget."""
    made_by = {"torch": torch.__version__, "thinnet": version("thinnet")}
    return json.loads(json.dumps({"data": data.fingerprint(), "target": data.target} | asdict(plan) | made_by))


def _train(request: Request, data: Dataset, store: Store, err: Console) -> int:
    """Train the missing trials; return the number of whole rounds."""
    plan, finished = request.plan, store.finished()
    total = trials_in_all(plan, request.seeds)
    before = min(sum(key.seed < request.seeds for key in finished), total)
    rows = f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} test rows"
    size = f"{counted(len(plan.configurations), 'configuration')}, {counted(request.seeds, 'seed')}"
    resumed = f"; {counted(before, 'trial')} already finished" if before else ""
    if data.name in PROBLEMS:
        err.print(f"{data.name}: {PROBLEMS[data.name].about}", soft_wrap=True)
    err.print(f"{data.name}, {data.task.name}: {rows}; {size}{resumed}", soft_wrap=True)
    print_data(err, data)
    with closing(run(data, plan, store, request.seeds, request.jobs, request.budget)) as trials:
        show_progress(trials, before, total)
    losses = {key: trial.loss for key, trial in store.finished().items()}
    look = current_look(plan, losses, request.seeds)
    seeds = whole_rounds(losses, look.configurations, look.seeds)
    if seeds < request.seeds:
        err.print(f"The budget is spent after {seeds} of {request.seeds} seeds. The same command resumes from here.")
    return seeds


def _load(request: Request) -> Dataset:
    """Read the file, or load the built-in problem of that name."""
    name = DIGITS if request.file is None and request.target is None else str(request.file)
    file = file_of(name)
    if name not in PROBLEMS and file is None:
        return prepare(read_table(request.file, request.target, request.kinds), request.task, request.plan.seed)
    if request.target is not None or request.kinds:
        option = "--column" if request.target is None else "--target"
        raise StudyError(option, "the option must come with a table", name, "Leave it out.")
    if file is not None:
        return load_file(open_file(file), Path(name).name, request.task, request.plan.seed)
    return load(name, request.task, request.plan.seed)


def _publish(request: Request, data: Dataset, results: Results, verdict: Verdict, seen: Lesson | None) -> None:
    """Write the result and the report, and print the one or the other."""
    result = json.dumps(document(data, request.plan, results, verdict), indent=2, allow_nan=False)
    page = report(data, request.plan, results, verdict, seen, shlex.join(["thinnet", *sys.argv[1:]]))
    write(request.out / RESULT, result + "\n")
    write(request.out / REPORT, page)
    if request.as_json:
        sys.stdout.write(result + "\n")
        return
    out = Console(highlight=False)
    print_results(out, results, data, verdict)
    out.print(f"The report: {(request.out / REPORT).resolve()}", soft_wrap=True)
