"""The result of a study as one JSON document: what `--json` prints and `result.json` holds."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from thinnet.study.data.dataset import Dataset
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.findings import averaging
from thinnet.study.findings.answer import Answer, versions
from thinnet.study.findings.comparison import Comparison
from thinnet.study.findings.comparison_text import loss_sentences, rival_cost_sentences, rival_sentences, time_sentences
from thinnet.study.findings.cost import cost_sentences
from thinnet.study.findings.outcomes import Outcome
from thinnet.study.findings.recommended import Recommended
from thinnet.study.findings.results import Results

FORMAT = 1
"""The number of the form of the document, which `result.schema.json` in this package describes."""


def document(answer: Answer) -> dict[str, Any]:
    """Returns numbers, texts, lists and dicts. Two runs of one command differ only in `seconds`."""
    data, results, verdict = answer.data, answer.results, answer.verdict
    return {
        "format": FORMAT,
        "thinnet": version("thinnet"),
        "versions": versions(),
        "verdict": asdict(verdict) | {"sentences": list(verdict.sentences), "chosen": results.chosen._asdict()},
        "test": {view: _contrasts(pair) for view, pair in results.test.items()},
        "naive": results.naive and _contrasts(results.naive),
        "finalists": [each._asdict() | _contrasts(found) for each, found in results.finalists.items()],
        "test_looks": results.looks,
        "configurations": [_numbers(each) for each in results.outcomes],
        "methods": {
            "sentences": loss_sentences(results, data.task),
            "comparisons": [_without_times(each) for each in results.comparisons],
        },
        "rivals": {
            "sentences": rival_sentences(results, data.task),
            "contrasts": [{"rival": rival._asdict()} | _contrasts(pair) for rival, pair in results.rivals.items()],
        },
        "failures": [
            trial.configuration._asdict() | {"seed": trial.seed, "reason": trial.failed} for trial in results.failures
        ],
        "averages": _averages(data, results),
        "subgroups": {name: _contrasts(pair) for name, pair in results.subgroups.items()},
        "seeds": results.seeds,
        "recommended": _recommended(answer.recommended),
        "data": _data(data),
        "plan": {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(answer.plan).items()},
        "seconds": _seconds(results, data.task.loss_name),
    }


def _contrasts(pair: Mapping[str, Contrast]) -> dict[str, Any]:
    return {name: asdict(contrast) for name, contrast in pair.items()}


def _data(data: Dataset) -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint(),
        "target": data.target,
        "task": data.task.name,
        "loss": data.task.loss_name,
        "error": data.task.error_name,
        "features": data.features,
        "rows": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
        "columns": [column._asdict() | {"form": list(column.form)} for column in data.columns],
        "notes": list(data.notes),
        "warnings": list(data.warnings),
    }


def _recommended(found: Recommended) -> dict[str, Any]:
    return {
        "configuration": found.configuration._asdict(),
        "seed": found.seed,
        "weights": found.weights.as_posix(),
        "code": found.code,
        "audit": [finding.as_dict() for finding in found.audit],
        "reliability": [
            {"configuration": each.configuration._asdict()}
            | {name: getattr(each, name).tolist() for name in ("stated", "observed", "errors")}
            for each in found.reliability
        ],
        "diagnostics": [asdict(each) for each in found.reasons],
    }


def _averages(data: Dataset, results: Results) -> dict[str, Any] | None:
    if results.averages is None:
        return None
    sentence = averaging.averaging_text(results.averages, data.task, results.chosen.label)
    return {"networks": averaging.SAMPLES, "sentence": sentence} | _contrasts(results.averages)


def _numbers(outcome: Outcome) -> dict[str, Any]:
    numbers = {"seeds": outcome.seeds, "epochs_to_best": outcome.epochs_to_best}
    return outcome.configuration._asdict() | numbers | {view: asdict(summary) for view, summary in outcome.views.items()}


def _without_times(comparison: Comparison) -> dict[str, Any]:
    numbers = {name: value for name, value in asdict(comparison).items() if not name.startswith("seconds")}
    return numbers | {"line": comparison.line._asdict(), "other": comparison.other._asdict()}


def _seconds(results: Results, loss_name: str) -> dict[str, Any]:
    """Returns all that depends on time: seconds by configuration, and ratios and sentences of compared lines and rivals."""
    seconds: dict[str, Any] = {"configurations": {each.configuration.label: each.seconds for each in results.outcomes}}
    if results.cost:
        seconds["cost"] = asdict(results.cost) | {"sentences": cost_sentences(results.cost, loss_name)}
    ratios = [
        {"line": each.line._asdict(), "other": each.other._asdict(), "rate": each.rate}
        | {"all_epochs": asdict(each.seconds), "to_target": asdict(each.seconds_to_target)}
        for each in results.comparisons
    ]
    rivals = [{"rival": each._asdict(), "all_epochs": asdict(found)} for each, found in results.rival_costs.items()]
    sentences = [*rival_cost_sentences(results), *time_sentences(results)]
    return seconds | {"sentences": sentences, "ratios": ratios, "rivals": rivals}
