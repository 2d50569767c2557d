"""The study as one JSON document: what `--json` prints and `result.json` holds."""

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from thinnet.study import averaging, beside, one_pass
from thinnet.study.cases import Data
from thinnet.study.comparison import Comparison
from thinnet.study.findings import Arm, Findings
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
        The document: `verdict`, `test`, `test_looks`, `arms`, `methods`, `averages`, `data`, `plan`, `seeds`, `seconds` and
        `thinnet`.
    """
    return {
        "thinnet": version("thinnet"),
        "verdict": asdict(verdict) | {"sentences": list(verdict.sentences), "chosen": findings.chosen},
        "test": {view: {name: asdict(part) for name, part in pair.items()} for view, pair in findings.test.items()},
        "test_looks": findings.looks,
        "arms": in_numbers(findings.arms),
        "methods": {
            "sentences": beside.quality(findings, data.task),
            "comparisons": [without_times(each) for each in findings.comparisons],
            "arms": {method: in_numbers(arms) for method, arms in findings.others.items()},
        },
        "averages": in_words(data, findings),
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
        "seconds": times(findings),
    }


def in_words(data: Data, findings: Findings) -> dict[str, Any] | None:
    """Puts the average of thinned networks beside one pass.

    Args:
        data: what was studied.
        findings: what the trials say.

    Returns:
        How many networks, a sentence, and the contrasts of loss and error; None at rate 0.
    """
    if findings.averages is None:
        return None
    sentence = one_pass.told(findings.averages, data.task, findings.chosen)
    contrasts = {name: asdict(contrast) for name, contrast in findings.averages.items()}
    return {"networks": averaging.DRAWS, "sentence": sentence} | contrasts


def in_numbers(arms: list[Arm]) -> list[dict[str, Any]]:
    """Puts arms in numbers, without their times.

    Args:
        arms: of one method.

    Returns:
        One dict an arm.
    """
    return [
        {"rate": arm.rate, "epochs_to_best": arm.epochs_to_best} | {view: asdict(glance) for view, glance in arm.views.items()}
        for arm in arms
    ]


def without_times(comparison: Comparison) -> dict[str, Any]:
    """Puts a comparison in numbers, without its times.

    Args:
        comparison: of two methods at one rate.

    Returns:
        Its fields but for the ratios of seconds.
    """
    return {name: value for name, value in asdict(comparison).items() if not name.startswith("seconds")}


def times(findings: Findings) -> dict[str, Any]:
    """Collects everything that a clock decides.

    Args:
        findings: what the trials say.

    Returns:
        The seconds of each arm of the first method by its rate; where methods are compared, also `methods`.
    """
    seconds: dict[str, Any] = {f"{arm.rate:g}": arm.seconds for arm in findings.arms}
    if not findings.comparisons:
        return seconds
    ratios = [
        {"method": each.method, "against": each.against, "rate": each.rate}
        | {"all_epochs": asdict(each.seconds), "to_target": asdict(each.seconds_to_target)}
        for each in findings.comparisons
    ]
    own = {method: {f"{arm.rate:g}": arm.seconds for arm in arms[1:]} for method, arms in findings.others.items()}
    return seconds | {"methods": {"sentences": beside.pace(findings), "ratios": ratios, "seconds": own}}
