"""The study as one JSON document: what `--json` prints and `result.json` holds."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from thinnet.study.cases import Data
from thinnet.study.findings import Findings
from thinnet.study.plan import Plan
from thinnet.study.verdict import Verdict


def document(data: Data, plan: Plan, findings: Findings, verdict: Verdict) -> dict[str, Any]:
    """Puts the study in numbers, texts, lists and dicts; two runs of one command differ in `seconds` alone.

    Args:
        data: what was studied.
        plan: the settings.
        findings: what the trials say.
        verdict: the answer.

    Returns:
        The document: `verdict`, `test`, `test_looks`, `arms`, `data`, `plan`, `seeds`, `seconds` and `thinnet`.
    """
    return {
        "thinnet": version("thinnet"),
        "verdict": asdict(verdict) | {"sentences": list(verdict.sentences), "chosen": findings.chosen},
        "test": {view: {name: asdict(part) for name, part in pair.items()} for view, pair in findings.test.items()},
        "test_looks": findings.looks,
        "arms": [
            {"rate": arm.rate, "epochs_to_best": arm.epochs_to_best}
            | {view: asdict(glance) for view, glance in arm.views.items()}
            for arm in findings.arms
        ],
        "seeds": findings.seeds,
        "data": {
            "name": data.name,
            "target": data.target,
            "task": data.task.name,
            "loss": data.task.loss_name,
            "error": data.task.error_name,
            "features": data.train.x.shape[1],
            "rows": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            "notes": list(data.notes),
        },
        "plan": {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan).items()},
        "seconds": {f"{arm.rate:g}": arm.seconds for arm in findings.arms},
    }
