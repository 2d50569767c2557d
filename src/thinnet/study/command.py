"""`thinnet study`, from the request to the report."""

import json
import os
import shlex
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from thinnet.study.cases import Data
from thinnet.study.document import document
from thinnet.study.findings import Findings, find
from thinnet.study.network import check_arms
from thinnet.study.plan import Plan, StudyError, whole_rounds
from thinnet.study.preparing import prepare
from thinnet.study.report import render
from thinnet.study.runner import run
from thinnet.study.screen import answer, beside_each_other, compared, shown_progress, summary
from thinnet.study.store import Store
from thinnet.study.tables import read_table
from thinnet.study.trial import fabric_for
from thinnet.study.verdict import Verdict, judge
from thinnet.study.words import counted

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
REPORT, RESULT = "index.html", "result.json"


@dataclass(frozen=True)
class Request:
    """What the person asked for: the plan decides the numbers of an arm, the rest how many arms and where they go."""

    file: Path | None
    target: str | None
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


def conduct(request: Request) -> int:
    """Does the whole job and says what came of it.

    Args:
        request: what was asked for.

    Returns:
        The exit code.

    Raises:
        StudyError: for what the person can mend.
    """
    err = Console(stderr=True, highlight=False)
    with err.status("reading the data"):
        data = prepare(read_table(request.file, request.target), request.task, request.plan.seed)
        fabric_for(request.plan)
        check_arms(data, request.plan)
        store = Store(request.out, identity(data, request.plan))
    try:
        seeds = trained(request, data, store, err)
        findings = find(data, request.plan, store, seeds)
    except KeyboardInterrupt:
        kept = len(store.finished())
        there = f"{counted(kept, 'finished trial')} in {request.out}"
        err.print(f"Stopped, with {there}. The same command goes on from there.", soft_wrap=True)
        return INTERRUPTED
    finally:
        store.close()
    publish(request, data, findings, judge(findings, data))
    return DONE


def identity(data: Data, plan: Plan) -> dict[str, Any]:
    """Says which study this is; the number of seeds, the jobs and the budget change how far it goes, not what it is.

    Args:
        data: what is studied.
        plan: the settings.

    Returns:
        What has to be equal for two runs to share a folder.
    """
    made_by = {"torch": torch.__version__, "thinnet": version("thinnet")}
    return json.loads(json.dumps({"data": data.fingerprint(), "target": data.target} | asdict(plan) | made_by))


def trained(request: Request, data: Data, store: Store, err: Console) -> int:
    """Trains what is missing.

    Args:
        request: what was asked for.
        data: what to train on.
        store: where trials are.
        err: shows the progress.

    Returns:
        The number of whole rounds there are now.
    """
    plan, finished = request.plan, store.finished()
    total = len(plan.arms) * request.seeds
    before = sum(key.seed < request.seeds for key in finished)
    rows = f"{len(data.train)} + {len(data.validation)} + {len(data.test)} rows to train, choose and test on"
    methods = f"{len(plan.methods)} methods x " if len(plan.methods) > 1 else ""
    arms = f"{counted(len(plan.rates), 'rate')} x {methods}{counted(request.seeds, 'seed')}"
    there = f"; {counted(before, 'trial')} there already" if before else ""
    err.print(f"{data.name}, {data.task.name}: {rows}; {arms}{there}", soft_wrap=True)
    with closing(run(data, plan, store, request.seeds, request.jobs, request.budget)) as trials:
        for _ in shown_progress(trials, before, total, err):
            pass
    seeds = whole_rounds(store.finished(), plan.arms, request.seeds)
    if seeds < request.seeds:
        err.print(f"The budget is spent after {seeds} of {request.seeds} seeds. The same command goes on from here.")
    return seeds


def publish(request: Request, data: Data, findings: Findings, verdict: Verdict) -> None:
    """Writes the report and the result, and prints one of them.

    Args:
        request: what was asked for.
        data: what was studied.
        findings: what the trials say.
        verdict: the answer.
    """
    result = json.dumps(document(data, request.plan, findings, verdict), indent=2, allow_nan=False)
    page = render(data, request.plan, findings, verdict, shlex.join(["thinnet", *sys.argv[1:]]))
    write(request.out / RESULT, result + "\n")
    write(request.out / REPORT, page)
    out = Console(highlight=False)
    if request.as_json:
        sys.stdout.write(result + "\n")
        return
    out.print(summary(findings, data))
    out.print(answer(verdict))
    if findings.comparisons:
        out.print(compared(findings, data.task))
        out.print(beside_each_other(findings, data.task))
    out.print(f"The report: {(request.out / REPORT).resolve()}", soft_wrap=True)


def write(path: Path, text: str) -> None:
    """Replaces a file in one step.

    Args:
        path: the file.
        text: what it shall hold.
    """
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
