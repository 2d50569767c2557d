"""Decides what a path of the user holds, from names alone."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from thinnet.study.data.paths import suffix_of
from thinnet.study.data.sources import cifar, idx, pictures, text, texts
from thinnet.study.data.sources.arrays import Arrays
from thinnet.study.data.sources.folders import files_below, subfolders
from thinnet.study.design.plan import COMMAND, StudyError

HOLDS = "one folder of pictures or of .txt files for each class, MNIST idx files, or CIFAR batches"


class Source(NamedTuple):
    """A reader of paths, and the built-in network for what it reads."""

    read: Callable[[Path], Arrays]
    network: str


PICTURES, IDX, CIFAR = Source(pictures.read, "cnn"), Source(idx.read, "cnn"), Source(cifar.read, "cnn")
TEXT, TEXTS = Source(text.read, "gpt"), Source(texts.read, "encoder")


def recognise(path: Path, target: str | None) -> Source | None:
    """Returns the source that a path is; None for a table and for a built-in problem.

    Args:
        path: a file or a folder.
        target: the option; text with a target is a table.

    Raises:
        StudyError: a folder holds nothing that a study can read.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        return None
    if idx.is_idx(path):
        return IDX
    if cifar.is_batch(path):
        return CIFAR
    return TEXT if suffix_of(path) == ".txt" and target is None else None


def _folder(path: Path) -> Source:
    if idx.found_in(path):
        return IDX
    if cifar.found_in(path):
        return CIFAR
    inside = subfolders(path)
    if any(files_below(each, pictures.SUFFIXES) for each in inside):
        return PICTURES
    if any(files_below(each, texts.SUFFIXES) for each in inside) or len(texts.lines_of(path)) > 1:
        return TEXTS
    names = sorted(each.name for each in path.iterdir() if not each.name.startswith("."))
    got = f"{str(path)!r}, which holds {', '.join(map(repr, names[:4]))}" if names else f"the empty folder {str(path)!r}"
    raise StudyError(COMMAND, f"a folder must hold {HOLDS}", got, _next_step(path, inside) if names else "Check the path.")


def _next_step(path: Path, inside: list[Path]) -> str:
    if files_below(path, (*pictures.SUFFIXES, *texts.SUFFIXES)):
        return "Put the files into a folder for each class."
    if other := next((each for part in inside for each in sorted(part.iterdir()) if each.is_file()), None):
        return f"Convert {str(other.relative_to(path))!r} and the others to .txt or to pictures."
    return "Name a file in it."
