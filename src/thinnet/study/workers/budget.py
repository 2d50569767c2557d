"""How long a study takes, and what a time limit allows: fewer epochs and fewer rows, so that all trials fit into it."""

import math
import time
from dataclasses import replace
from pathlib import Path

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import Configuration, TrialKey
from thinnet.study.design.halving import trials_in_all
from thinnet.study.design.plan import Plan
from thinnet.study.training.trial import one_thread, train
from thinnet.study.workers.store import identity_in

BATCHES, SECONDS, MOST_EPOCHS = 8, 0.5, 32
"""The size of the trial that is timed, in batches and in seconds: a shorter one hides in the noise of the machine."""

SHARE = 0.6
"""The share of a time limit for training; tests and the report take the rest."""

FEWEST_EPOCHS, FEW_ROWS, FEWEST_ROWS = 10, 5000, 1000
"""Below FEW_ROWS, epochs shrink before rows do, down to FEWEST_EPOCHS; then rows, down to FEWEST_ROWS."""


def seconds_per_row(data: Dataset, plan: Plan) -> float:
    """Time training and evaluation, in seconds for one row and one epoch: the mean over configurations."""
    edits = [each for each in plan.configurations if not each.is_network]
    timed = {edits[-1]: len(edits)} | {each: 1 for each in plan.configurations if each.is_network}
    return sum(number * _seconds_per_row(data, plan, each) for each, number in timed.items()) / sum(timed.values())


def _seconds_per_row(data: Dataset, plan: Plan, configuration: Configuration) -> float:
    rows = min(len(data.development), 2 * BATCHES * plan.batch)
    some, key = data.limited(rows), TrialKey(configuration, 0)
    with one_thread():
        train(some, replace(plan, epochs=1), key)  # warms up
        taken, epochs = 0.0, 1
        while taken < SECONDS and epochs < MOST_EPOCHS:
            epochs *= 2
            started = time.perf_counter()
            train(some, replace(plan, epochs=epochs), key)
            taken = time.perf_counter() - started
    return taken / (epochs * len(some.development))


def fitted(plan: Plan, rows: int, allowed: float) -> Plan:
    """Returns the plan with so many epochs and rows that their product is at most `allowed`, within the bounds above.

    >>> wide = fitted(Plan(), rows=80_000, allowed=200_000)
    >>> wide.epochs, wide.rows
    (15, 12649)
    >>> small = fitted(Plan(), rows=1_400, allowed=70_000)
    >>> small.epochs, small.rows
    (50, None)
    """
    share = allowed / (plan.epochs * rows)
    if share >= 1:
        return plan
    wanted = max(math.floor(rows * math.sqrt(share)), min(rows, FEW_ROWS))
    epochs = min(max(math.floor(allowed / wanted), min(plan.epochs, FEWEST_EPOCHS)), plan.epochs)
    kept = min(max(math.floor(allowed / epochs), min(rows, FEWEST_ROWS)), wanted)
    return replace(plan, epochs=epochs, rows=plan.rows if kept == rows else kept)


def within(limit: float, data: Dataset, plan: Plan, seeds: int, jobs: int, folder: Path, url: str | None = None) -> Plan:
    """Returns the plan that fits into a time limit; where the folder holds a study, what was decided at its beginning.

    Args:
        limit: seconds.
        data: the dataset.
        plan: what is asked.
        seeds: the number of seeds of a finalist.
        jobs: the number of processes.
        folder: of the study.
        url: its database; None for SQLite in the folder.
    """
    begun = begun_with(folder, url)
    if begun is not None:
        rows = min((each for each in (plan.rows, begun[1]) if each), default=None)
        return replace(plan, epochs=min(plan.epochs, begun[0]), rows=rows)
    beginning = time.process_time() if jobs > 1 else 0.0  # every worker imports what this process has imported
    allowed = SHARE * max(limit - beginning, limit / 10) * max(jobs, 1) / trials_in_all(plan, seeds)
    rows = min(plan.rows or len(data.development), len(data.development))
    return fitted(plan, rows, allowed / seconds_per_row(data, plan))


def begun_with(folder: Path, url: str | None = None) -> tuple[int, int | None] | None:
    """Returns the epochs and the rows of the study of a folder; None if there is none. The arguments are `identity_in`'s."""
    identity = identity_in(folder, url)
    return None if identity is None else (identity["epochs"], identity.get("rows"))


def limits_in_words(plan: Plan, asked: Plan, data: Dataset) -> str:
    """Returns a sentence on what a time limit took away; empty if nothing."""
    total = len(data.development)
    epochs = f"{plan.epochs} of {asked.epochs} epochs" if plan.epochs < asked.epochs else ""
    rows = ""
    if plan.rows != asked.rows:
        rows = f"{plan.rows:,} of {min(asked.rows or total, total):,} rows for training and validation"
    if not epochs and not rows:
        return ""
    taken = " and ".join(part for part in (epochs, rows) if part)
    return f"A first look, so that all trials fit into --budget: {taken}. Without --budget the answer may differ."
