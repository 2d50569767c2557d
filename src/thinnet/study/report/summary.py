"""The result of a study as Markdown, for a pull request or an issue."""

from thinnet.report.formatting import counted
from thinnet.study.data.dataset import Dataset
from thinnet.study.evidence.formatting import interval_text, quantity
from thinnet.study.findings.answer import Answer, versions
from thinnet.study.findings.comparison_text import loss_sentences, rival_cost_sentences, rival_sentences
from thinnet.study.findings.evidence_text import FEWER, failure_sentences
from thinnet.study.findings.outcomes import Outcome
from thinnet.study.findings.results import Results


def summary(answer: Answer) -> str:
    """Returns the answer, the evidence, a table of configurations, and what reproduces them."""
    data, results, verdict, task = answer.data, answer.results, answer.verdict, answer.data.task
    rivals = [*rival_sentences(results, task), *rival_cost_sentences(results)]
    sentences = [*verdict.sentences, *rivals, *loss_sentences(results, task), verdict.overfitting]
    head = ("configuration", f"validation {task.loss_name}", "less p = 0 [95 %]", task.error_name, "gap", "seeds", "seconds")
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *(_row(each, results, data) for each in results.outcomes)]
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join(
        [
            f"### {verdict.headline}",
            "",
            *(f"- {_escaped(sentence)}" for sentence in sentences),
            *(f"- **Warning:** {_escaped(warning)}" for warning in (*data.warnings, *failure_sentences(results))),
            "",
            *(f"| {' | '.join(cells)} |" for cells in lines),
            "",
            f"Validation sets, mean over up to {counted(results.seeds, 'seed')}, each trial at its best epoch.",
            *([FEWER] if results.halved else []),
            "",
            f"`{answer.command}`",
            "",
            f"{made}; data {data.fingerprint()[:16]}.",
            "",
        ]
    )


def _row(outcome: Outcome, results: Results, data: Dataset) -> tuple[str, ...]:
    best, chosen = outcome.views["best"], outcome.configuration == results.chosen
    label = _escaped(outcome.configuration.label)
    return (
        f"**{label}**" if chosen else label,
        f"{best.validation_loss:.4f}",
        interval_text(best.difference),
        quantity(best.validation_error, data.task),
        f"{best.gap:+.3f}",
        str(outcome.seeds),
        f"{outcome.seconds:.1f}",
    )


def _escaped(text: str) -> str:
    """Escapes what Markdown would read as a mark.

    >>> _escaped("fc* | <b>")
    'fc\\\\* \\\\| \\\\<b>'
    """
    return "".join(f"\\{sign}" if sign in "\\`*_|<[" else sign for sign in text)
