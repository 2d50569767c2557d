"""What a reader returns, and the rules that all readers share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from thinnet.study.design.plan import COMMAND, FEWEST_IN_CLASS, StudyError

Pair = tuple[np.ndarray, np.ndarray]
NAMED = 3


class Arrays(NamedTuple):
    """The samples of a path, and the built-in network that suits them.

    Args:
        development: inputs (N, ...) and targets (N, ...) for training and validation; also for the test where none is given.
        test: inputs and targets of a given test set.
        classes: the names of the classes.
        arguments: of `model()` of the network.
        notes: sentences on how the samples were read.
        warnings: sentences, each with a number, on what was left out.
        target: what the network predicts.
        samples: encodes new samples; None where there is nothing to predict for a whole sample.
    """

    development: Pair
    test: Pair | None
    classes: Sequence[str]
    arguments: tuple[int | str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    target: str = "class"
    samples: Any = None


def check_classes(path: Path, targets: np.ndarray, classes: Sequence[str]) -> None:
    """Refuses data that cannot be split into three sets.

    Raises:
        StudyError: there is one class only, or a class has too few samples.
    """
    if len(classes) < 2:
        got = ", ".join(classes) or "none"
        raise StudyError(COMMAND, f"{path} must hold at least two classes", f"only {got}", "Add a folder for each class.")
    counts = np.bincount(targets, minlength=len(classes))
    if counts.min() < FEWEST_IN_CLASS:
        rule = f"every class of {path} must have at least {FEWEST_IN_CLASS} samples"
        got = f"{counts.min()} of {classes[int(counts.argmin())]!r}"
        raise StudyError(COMMAND, rule, got, "Add samples, or remove the class.")


def unreadable(what: str, found: dict[Path, str], total: int) -> tuple[str, ...]:
    """Returns one sentence that names the files that could not be read; none if there are none.

    >>> unreadable("pictures", {Path("cats/7.png"): "truncated"}, 90)
    ('1 of 90 pictures could not be read and was left out: cats/7.png (truncated).',)
    """
    if not found:
        return ()
    named = ", ".join(f"{path.parent.name}/{path.name} ({why})" for path, why in list(found.items())[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    was = "was" if len(found) == 1 else "were"
    return (f"{len(found)} of {total} {what} could not be read and {was} left out: {named}{more}.",)
