"""A folder with one folder for each class, and optionally a level above it that separates a test set."""

from pathlib import Path
from typing import NamedTuple

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The names of folders that hold a set instead of a class."""


class Labelled(NamedTuple):
    """The files of a folder by class.

    Args:
        classes: the names of the classes, sorted.
        development: files and the class of each, for training and validation.
        test: those of a given test set; empty where none is given.
    """

    classes: tuple[str, ...]
    development: tuple[tuple[Path, int], ...]
    test: tuple[tuple[Path, int], ...]


def labelled(folder: Path, suffixes: tuple[str, ...]) -> Labelled:
    """Lists the files with these suffixes by class; files of folders below a class count, hidden ones do not."""
    parts = given_parts(folder)
    roots = {name: [folder] if parts is None else parts[name] for name in ("train", "validation", "test")}
    development = [roots["train"]] if parts is None else [roots["train"], roots["validation"]]
    pairs = [pair for group in development for root in group for pair in _by_class(root, suffixes)]
    test = [] if parts is None else [pair for root in roots["test"] for pair in _by_class(root, suffixes)]
    classes = tuple(sorted({name for name, _ in (*pairs, *test)}))
    number = {name: index for index, name in enumerate(classes)}
    return Labelled(
        classes,
        tuple((path, number[name]) for name, path in pairs),
        tuple((path, number[name]) for name, path in test),
    )


def given_parts(folder: Path) -> dict[str, list[Path]] | None:
    """Returns the folders of each set where all folders are named after sets and a training set is among them."""
    inside = subfolders(folder)
    named = {name: [each for each in inside if each.name.lower() in names] for name, names in PARTS.items()}
    known = sum(map(len, named.values()))
    return named if named["train"] and known == len(inside) and known > 1 else None


def subfolders(folder: Path) -> list[Path]:
    """Lists the folders in a folder, sorted, without hidden ones."""
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))


def files_below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Lists the files with these suffixes in a folder and below it, sorted."""
    found = (each for each in folder.rglob("*") if each.suffix.lower() in suffixes and not each.name.startswith("."))
    return sorted(each for each in found if each.is_file())


def _by_class(root: Path, suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    return [(each.name, path) for each in subfolders(root) for path in files_below(each, suffixes)]
