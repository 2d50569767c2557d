"""A text, for a language model that predicts the next byte."""

from pathlib import Path

import numpy as np

from thinnet.study.data.files import PACKED
from thinnet.study.data.sources.arrays import Arrays, Pair
from thinnet.study.design.plan import COMMAND, StudyError

LENGTH, FEWEST, TEST_SHARE = 64, 50, 0.2
BYTES = 256


def read(path: Path) -> Arrays:
    """Reads sequences of 64 bytes and the bytes that follow each; the last fifth of the text is the test set.

    Bytes need no vocabulary, which would have to be fitted, and suit every language.

    Raises:
        StudyError: the file cannot be read, or is too short.
    """
    try:
        with PACKED.get(path.suffix.lower(), open)(path, "rb") as file:
            raw = np.frombuffer(file.read(), np.uint8)
    except (OSError, EOFError) as error:
        got = f"{str(path)!r} ({str(error).rstrip('.')})"
        raise StudyError(COMMAND, "FILE must be a readable text", got, "Repair it.") from None
    count = (len(raw) - 1) // LENGTH
    if count < FEWEST:
        rule = f"a text must have at least {FEWEST * LENGTH + 1:,} bytes"
        raise StudyError(COMMAND, rule, f"{len(raw):,} in {str(path)!r}", "For a table, name its --target.")
    kept = int(count * (1 - TEST_SHARE))
    note = (
        f"{count:,} sequences of {LENGTH} bytes of a text; the model predicts the next byte, and the last "
        f"{count - kept:,} sequences are the test set. For a table, name its --target."
    )
    classes = tuple(map(str, range(BYTES)))
    return Arrays(_sequences(raw, 0, kept), _sequences(raw, kept, count), classes, (BYTES, LENGTH), (note,), target="next byte")


def _sequences(raw: np.ndarray, first: int, last: int) -> Pair:
    part = raw[first * LENGTH : last * LENGTH + 1].astype(np.int64)
    return part[:-1].reshape(-1, LENGTH), part[1:].reshape(-1, LENGTH)
