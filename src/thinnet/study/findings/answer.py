"""Everything that a study found, from which its files are written."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.findings.lesson import Lesson
from thinnet.study.findings.recommended import Recommended
from thinnet.study.findings.results import Results
from thinnet.study.findings.verdict import Verdict
from thinnet.study.training.trial import Trial

LIBRARIES = ("thinnet", "torch", "numpy", "scipy", "scikit-learn", "pandas", "optuna")


@dataclass(frozen=True)
class Answer:
    """What a study found.

    Args:
        data: the dataset.
        plan: the settings.
        trials: every finished trial.
        results: the summary of the trials.
        verdict: the answer.
        recommended: the network to use.
        lesson: what the report of a made regression shows; None for other data.
        command: what the user typed.
    """

    data: Dataset
    plan: Plan
    trials: Mapping[TrialKey, Trial]
    results: Results
    verdict: Verdict
    recommended: Recommended
    lesson: Lesson | None
    command: str


def versions() -> dict[str, str]:
    """Returns the versions that a study depends on."""
    return {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
