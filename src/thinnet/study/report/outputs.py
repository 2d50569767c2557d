"""The files of a study: the report, the result, every trial by epoch, and a summary for a pull request."""

import json
import os
from pathlib import Path

from thinnet.report.page import write
from thinnet.study.data.encoding import Encoder
from thinnet.study.findings.answer import Answer
from thinnet.study.report.document import document
from thinnet.study.report.page import report
from thinnet.study.report.summary import summary
from thinnet.study.report.trial_table import by_epoch

REPORT, RESULT, TRIALS, SUMMARY = "index.html", "result.json", "results.parquet", "summary.md"


def publish(folder: Path, answer: Answer) -> None:
    """Writes every file; each replaces an older one in one step, so that no reader sees half of it."""
    write(folder / RESULT, json.dumps(document(answer), indent=2, allow_nan=False) + "\n")
    write(folder / SUMMARY, summary(answer))
    if answer.data.encoder is not None:
        answer.data.encoder.save(folder / answer.recommended.weights.with_name(Encoder.FILE))
    partial = folder / f"{TRIALS}.partial"
    by_epoch(answer.trials.values()).to_parquet(partial, index=False)
    os.replace(partial, folder / TRIALS)
    write(folder / REPORT, report(answer))
