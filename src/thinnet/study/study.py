"""A whole study, from the request to its result: the same for the command and for `thinnet.study.run`."""

import html
import json
import time
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from thinnet.report.extras import need
from thinnet.report.figure import draw
from thinnet.report.formatting import counted
from thinnet.report.table import Table
from thinnet.study.data.dataset import Dataset
from thinnet.study.design.halving import current_look, trials_in_all
from thinnet.study.design.plan import Plan, whole_rounds
from thinnet.study.findings.answer import Answer
from thinnet.study.findings.lesson import lesson
from thinnet.study.findings.recommended import recommended
from thinnet.study.findings.results import Results, summarize
from thinnet.study.findings.verdict import Verdict, judge
from thinnet.study.report import figures
from thinnet.study.report.console import print_data, results_tables, training
from thinnet.study.report.document import document
from thinnet.study.report.event_files import logged
from thinnet.study.report.outputs import REPORT, publish
from thinnet.study.request import Request
from thinnet.study.training.advice import advised
from thinnet.study.training.network import check_configurations
from thinnet.study.training.ranks import joined
from thinnet.study.training.trial import precision_of
from thinnet.study.workers.budget import limits_in_words, within
from thinnet.study.workers.database import shown, stays_reachable
from thinnet.study.workers.elsewhere import RAY, RayWorkers, SlurmWorkers
from thinnet.study.workers.launch import Processes, Workers
from thinnet.study.workers.problem import announce
from thinnet.study.workers.records import losses
from thinnet.study.workers.runner import run
from thinnet.study.workers.store import Store

USER = "study"
TRAINED = 0.85
"""The share of a time limit after which no more trials are awaited: the tests and the report take the rest."""


@dataclass(frozen=True)
class Study:
    """The result of a study.

    Args:
        verdict: the answer: `helps`, `reason`, `rate`, `headline`, and the sentences of the evidence.
        results: every number that it rests on.
        data: the dataset.
        plan: the settings.
        document: the content of `result.json`.
        folder: where the report, the trials and the weights are.
    """

    verdict: Verdict
    results: Results
    data: Dataset
    plan: Plan
    document: dict[str, Any]
    folder: Path

    @property
    def report(self) -> Path:
        """The report, one HTML file."""
        return self.folder / REPORT

    @property
    def tables(self) -> list[Table]:
        """The tables that the command prints."""
        return results_tables(self.results, self.data)

    def figures(self, dark: bool = False) -> list[Any]:
        """Returns the loss by rate, and its difference to training without dropout, as Plotly figures; the report has more."""
        drawn = (figures.rate_curve(self.results, self.data.task), figures.difference(self.results, "loss", 1.0, ""))
        return [draw(figure, USER, dark) for figure in drawn]

    def __repr__(self) -> str:
        sentences = (self.verdict.headline, *self.verdict.sentences, self.verdict.overfitting)
        return "\n".join([*sentences, "", *map(str, self.tables), f"The report: {self.report}"])

    def _repr_html_(self) -> str:
        """Shows the answer, the tables, and two figures in a notebook."""
        sentences = " ".join((*self.verdict.sentences, self.verdict.overfitting))
        drawn = [figure.to_html(full_html=False, include_plotlyjs=not number) for number, figure in enumerate(self.figures())]
        text = f"<p><strong>{html.escape(self.verdict.headline)}</strong> {html.escape(sentences)}</p>"
        return "\n".join([text, *(table.html() for table in self.tables), *drawn])


def conduct(request: Request, err: Console) -> Study:
    """Runs what is missing of a study, and writes its result and its report.

    Args:
        request: what is asked.
        err: shows what is done.

    Raises:
        StudyError: an error that the caller can correct.
        ModuleNotFoundError: a library of the study extra is missing.
    """
    for library in ("jinja2", "plotly"):  # the report needs them at the end; a missing one stops the run at once
        need(library, USER)
    if request.log:
        need(request.log, f"--log {request.log}")
    reachable = nullcontext() if request.storage is None else stays_reachable()  # in a folder, it is the disk
    with reachable, ExitStack() as ranks:
        ranks.enter_context(joined())
        request, data, store = _begun(request, err)
        try:
            seeds = _train(request, data, store, err)
            ranks.close()  # the other ranks may go
            answer = _answer(request, data, store, seeds)
        except KeyboardInterrupt:
            kept = f"{counted(len(store.finished()), 'finished trial')} in {request.out if store.local else shown(store.url)}"
            err.print(f"Stopped, with {kept}. The same command resumes from there.", soft_wrap=True)
            raise
        finally:
            store.close()
    publish(request.out, answer)
    return Study(answer.verdict, answer.results, data, request.plan, document(answer), request.out)


def _begun(request: Request, err: Console) -> tuple[Request, Dataset, Store]:
    """Reads the data, and opens the store; returns the request with what its time limit allows."""
    with err.status("reading the data"):
        data = request.problem.dataset(request.plan.seed)
        precision_of(request.plan)
        request = replace(request, plan=advised(data, request.plan))
        check_configurations(data, request.plan)
        request, data = _limited(request, data)
        store = Store(request.out, identity(data, request.plan), request.storage)
        announce(store, request.asked, request.plan, request.seeds)
    return request, data, store


def _answer(request: Request, data: Dataset, store: Store, seeds: int) -> Answer:
    """Summarises the trials, judges them, and measures the recommended network."""
    plan, trials = request.plan, store.finished()
    results = summarize(data, plan, store, seeds)
    verdict = judge(results, data)
    found = recommended(data, plan, store.folder, trials, results, verdict)
    return Answer(data, plan, trials, results, verdict, found, lesson(data, plan, store, results), request.command)


def identity(data: Dataset, plan: Plan) -> dict[str, Any]:
    """Returns the settings that two runs in one folder must share: all but seeds, jobs, budget, and why they were advised."""
    settings = {name: value for name, value in asdict(plan).items() if name != "advice"}
    made_by = {"torch": torch.__version__, "thinnet": version("thinnet")}
    return json.loads(json.dumps({"data": data.fingerprint(), "target": data.target} | settings | made_by))


def _limited(request: Request, data: Dataset) -> tuple[Request, Dataset]:
    """Returns what the time limit allows, and a warning that says so."""
    asked, plan = request.plan, request.plan
    if request.budget is not None:
        left = max(request.budget - (time.monotonic() - request.started), 0.1 * request.budget)
        plan = within(left, data, asked, request.seeds, request.jobs, request.out, request.storage)
    words = limits_in_words(plan, asked, data)
    limited = data.limited(plan.rows)
    return replace(request, plan=plan), replace(limited, warnings=(*data.warnings, *([words] if words else [])))


def _train(request: Request, data: Dataset, store: Store, err: Console) -> int:
    """Trains the missing trials; returns the number of whole rounds."""
    again = store.retry() if request.retry_failed else 0
    plan, finished = request.plan, store.finished()
    total = trials_in_all(plan, request.seeds)
    before = min(sum(key.seed < request.seeds for key in finished), total)
    rows = f"{len(data.train)} training, {len(data.validation)} validation and {len(data.test)} test rows"
    size = f"{counted(len(plan.configurations), 'configuration')}, {counted(request.seeds, 'seed')}"
    resumed = f"; {counted(before, 'trial')} already finished" if before else ""
    resumed += f"; {counted(again, 'failed trial')} again" if again else ""
    if request.problem.about:
        err.print(f"{data.name}: {request.problem.about}", soft_wrap=True)
        if request.asked and request.asked.file and Path(request.asked.file).exists():
            err.print(f"The path {data.name!r} is not read: ./{data.name} names it.", soft_wrap=True)
    err.print(f"{data.name}, {data.task.name}: {rows}; {size}{resumed}", soft_wrap=True)
    print_data(err, data, built_in=bool(request.problem.about))
    for sentence in plan.advice:
        err.print(sentence, soft_wrap=True)
    workers = workers_for(request, store, data, total - before, err)
    if before < total:
        err.print(f"Training {counted(total - before, 'trial')} of {counted(plan.epochs, 'epoch')}.")
    budget = None if request.budget is None else TRAINED * request.budget - (time.monotonic() - request.started)
    with (
        training(err, before, total, plan.epochs) as shown,
        closing(run(data, plan, store, request.seeds, workers, budget, shown.watch)) as trials,
    ):
        for _ in logged(trials, finished.values(), store.folder) if request.log else trials:
            shown.finish()
    have = losses(store.finished().values())
    look = current_look(plan, have, request.seeds)
    seeds = whole_rounds(have, look.configurations, look.seeds)
    if seeds < request.seeds:
        err.print(f"The budget is spent after {seeds} of {request.seeds} seeds. The same command resumes from here.")
    return seeds


def workers_for(request: Request, store: Store, data: Dataset, left: int, err: Console) -> Workers | None:
    """Returns who trains `left` trials; None for this process."""
    if request.on == RAY:
        return RayWorkers(request.jobs, store.url, store.name, request.address)
    if request.on is not None:
        return SlurmWorkers(request.jobs, store.url, store.name, request.out, err)
    number = min(request.jobs, left)
    return None if number == 1 or left == 0 else Processes(number, store, data, request.plan)
