"""The network that a study recommends: its code, its audit, its confidence, and what dropout did to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from thinnet.models.audit.audit import audit
from thinnet.report.findings import Findings
from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import BASELINE, Configuration, TrialKey
from thinnet.study.design.plan import FEWEST_SEEDS, Plan
from thinnet.study.findings.diagnostics import Reason, reasons
from thinnet.study.findings.outcomes import trials_of
from thinnet.study.findings.pasted import code_of
from thinnet.study.findings.reliability import Reliability, reliability
from thinnet.study.findings.results import Results
from thinnet.study.findings.verdict import Verdict
from thinnet.study.training.scores import trained
from thinnet.study.training.trial import Trial, one_thread
from thinnet.study.training.weights import weights_path

ALLOWED = {"AUD106 *": "the study chose a rate of 0"}
AUDITED = 16
"""The number of training samples that the audit runs on."""


@dataclass(frozen=True)
class Recommended:
    """The recommended network.

    Args:
        configuration: the chosen one if dropout helps, else the baseline.
        seed: of its trials, that with the lowest validation loss.
        weights: the file of these weights, relative to the folder of the study.
        code: a Python module that builds, trains and loads the network.
        audit: what `thinnet.audit` finds in it.
        reliability: of the baseline, and of the best configuration of dropout where there is one; empty for a loss of the user.
        reasons: measures of the perceptron without and with dropout; empty for a model of the user, where they may take long.
    """

    configuration: Configuration
    seed: int
    weights: Path
    code: str
    audit: Findings
    reliability: list[Reliability]
    reasons: list[Reason]


def recommended(
    data: Dataset, plan: Plan, folder: Path, trials: Mapping[TrialKey, Trial], results: Results, verdict: Verdict
) -> Recommended:
    """Returns the recommended network, and measures it. The test set decides nothing here."""
    configuration = results.chosen if verdict.helps else BASELINE
    rounds = {each: trials_of(each, trials, results.seeds) for each in dict.fromkeys((BASELINE, results.compared))}
    own = trials_of(configuration, trials, results.seeds)
    best = min(own, key=lambda trial: trial.loss)
    weights = weights_path(Path(), best.key)
    with one_thread():
        network = next(trained(data, plan, folder, [best], "best"))
        found = audit(network, torch.from_numpy(data.train.x[:AUDITED]), allow=ALLOWED)
        confidence = [reliability(data, plan, folder, each) for each in rounds.values()]
        pair = [each[:FEWEST_SEEDS] for each in rounds.values()]
        measured = reasons(data, plan, folder, pair, "best") if data.file is None and len(pair) > 1 else []
    code = code_of(data, plan, configuration, best.seed, weights)
    mistakes = Findings(each for each in found if not each.allowed)
    return Recommended(configuration, best.seed, weights, code, mistakes, [each for each in confidence if each], measured)
