"""Texts by class: a folder of files for each class, or a file for each class with a text on each line."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from thinnet.study.data.sources.arrays import Arrays, Pair, check_classes, unreadable
from thinnet.study.data.sources.folders import labelled
from thinnet.study.design.plan import COMMAND, ENCODE, StudyError

SUFFIXES = (".txt", ".text", ".md")
LENGTH, BUCKETS, PADDING = 128, 4096, 0
WORD = re.compile(r"\w+|[^\w\s]")
Labels = list[tuple[str, int]]
Encode = Callable[[list[str]], tuple[np.ndarray, str]]
Texts = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Words:
    """What texts become: numbers of their first words, (N, 128)."""

    kind: str = "words"

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Words":
        """Returns those of a JSON document."""
        return cls(**found)

    def encode(self, texts: Texts) -> np.ndarray:
        """Returns the numbers of texts, or of files that are given as `pathlib.Path`."""
        return words(texts_of(texts))[0]


def texts_of(texts: Texts) -> list[str]:
    """Returns texts, and the content of files that are given as `pathlib.Path`.

    Raises:
        StudyError: a file holds no text.
    """
    failed: dict[Path, str] = {}
    given = [texts] if isinstance(texts, str | Path) else texts
    found = [_text(each, failed) if isinstance(each, Path) else each for each in given]
    for path, why in failed.items():
        raise StudyError(ENCODE, "every file must hold text", f"{str(path)!r} ({why})", "Leave it out.")
    return [str(each) for each in found]


def read(folder: Path) -> Arrays:
    """Reads the texts as word numbers (N, 128): hashed, so that no vocabulary has to be fitted.

    Raises:
        StudyError: no text can be read, or the classes cannot be split.
    """
    return encoded(folder, words, (BUCKETS, LENGTH), Words())


def encoded(folder: Path, encode: Encode, arguments: tuple[int | str, ...], samples: Any) -> Arrays:
    """Reads the texts of a folder.

    Args:
        folder: of texts by class.
        encode: from texts to whole numbers (N, T) and a sentence on them.
        arguments: of `model()`, without the number of classes.
        samples: encodes new texts.
    """
    development, test, classes, failed, total = _texts(folder)
    if not development:
        got = f"{total} files, none of which holds text"
        raise StudyError(COMMAND, f"{folder} must hold readable texts", got, "Check the files.")
    y = np.array([label for _, label in development], dtype=np.int64)
    check_classes(folder, y, classes)
    x, how = encode([text for text, _ in (*development, *test)])
    given: Pair | None = None
    if test:
        given = x[len(y) :], np.array([label for _, label in test], dtype=np.int64)
    note = f"{len(x)} texts, {how}."
    left_out = unreadable("files", failed, total)
    return Arrays((x[: len(y)], y), given, classes, (*arguments, len(classes)), (note,), left_out, samples=samples)


def words(texts: list[str]) -> tuple[np.ndarray, str]:
    """Number the first 128 words of each text by a hash, from 1; 0 fills the rest.

    >>> words(["To be, or not"])[0][0, :6].tolist()
    [3097, 2786, 504, 285, 3549, 0]
    """
    split = [WORD.findall(text.lower()) for text in texts]
    x = np.full((len(texts), LENGTH), PADDING, dtype=np.int64)
    for row, found in zip(x, split, strict=True):
        numbers = [1 + crc32(word.encode()) % (BUCKETS - 1) for word in found[:LENGTH]]
        row[: len(numbers)] = numbers
    cut = sum(len(found) > LENGTH for found in split)
    return x, f"as words and signs without case; {cut} are longer than {LENGTH} words and were cut"


def _texts(folder: Path) -> tuple[Labels, Labels, tuple[str, ...], dict[Path, str], int]:
    """Returns the texts with their classes, those of a given test set, the names of the classes, and the unreadable files."""
    failed: dict[Path, str] = {}
    files = labelled(folder, SUFFIXES)
    if files.classes:
        development, test = (
            [(text, label) for path, label in part if (text := _text(path, failed)) is not None]
            for part in (files.development, files.test)
        )
        return development, test, files.classes, failed, len(files.development) + len(files.test)
    by_class = lines_of(folder)
    lines = [
        (line.strip(), label)
        for label, path in enumerate(by_class)
        for line in (_text(path, failed) or "").splitlines()
        if line.strip()
    ]
    return lines, [], tuple(path.stem for path in by_class), failed, len(by_class)


def lines_of(folder: Path) -> list[Path]:
    """Lists the text files of a folder: each is a class with a text on each line."""
    return sorted(each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file())


def _text(path: Path, failed: dict[Path, str]) -> str | None:
    try:
        raw = path.read_bytes()
    except OSError as error:
        failed[path] = str(error.strerror)
        return None
    if b"\0" in raw or not raw.strip():
        failed[path] = "no text" if raw.strip() else "empty"
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")
