"""The idx files of MNIST and the sets of its form (Fashion-MNIST, EMNIST, KMNIST), plain or compressed."""

import gzip
import re
from pathlib import Path

import numpy as np

from thinnet.study.data.sources.arrays import Arrays, Pair, check_classes
from thinnet.study.data.sources.pictures import Pictures
from thinnet.study.design.plan import COMMAND, StudyError

IMAGES = re.compile(r"images?[-.]idx3-ubyte(\.gz)?$", re.IGNORECASE)
LABELS = re.compile(r"labels?[-.]idx1-ubyte(\.gz)?$", re.IGNORECASE)
TEST = re.compile(r"t10k|test", re.IGNORECASE)
DEEP = ("*", "*/*", "*/*/*")
"""How far below a folder its files may lie: torchvision puts them into MNIST/raw."""

Where = dict[str, Path]


def is_idx(path: Path) -> bool:
    """Returns whether a name is that of an idx file."""
    return bool(IMAGES.search(path.name) or LABELS.search(path.name))


def found_in(folder: Path) -> list[Path]:
    """Lists the idx files of a folder, the first of several copies."""
    names: dict[str, Path] = {}
    for pattern in DEEP:
        for path in sorted(folder.glob(pattern)):
            if is_idx(path) and path.is_file():
                names.setdefault(path.name.removesuffix(".gz"), path)
    return list(names.values())


def read(path: Path) -> Arrays:
    """Reads a file of images with its labels beside it, or a folder; files named t10k or test are the test set.

    Raises:
        StudyError: a file is missing or broken, or images and labels do not match.
    """
    files = found_in(path) if path.is_dir() else [path, *_beside(path)]
    test = _part(path, [each for each in files if TEST.search(each.name)])
    train = _part(path, [each for each in files if not TEST.search(each.name)])
    if train is None:
        train, test = test, None
    if train is None:
        raise StudyError(COMMAND, f"{path} must hold idx files of images and labels", "neither", "Check the path.")
    (x, y), shape = train, train[0].shape[2:]
    if test is not None and test[0].shape[2:] != shape:
        rule = f"training and test images of {path} must have one size"
        raise StudyError(COMMAND, rule, f"{shape} and {test[0].shape[2:]}", "Name one file of images instead.")
    labels = sorted({*y.tolist(), *(() if test is None else test[1].tolist())})
    y, *rest = (np.searchsorted(labels, each).astype(np.int64) for each in (y, *(() if test is None else (test[1],))))
    check_classes(path, y, classes := tuple(map(str, labels)))
    note = f"{len(y) + sum(map(len, rest))} images of {shape[1]} x {shape[0]} pixels, in grey; pixels are in [0, 1]."
    return Arrays((x, y), test and (test[0], rest[0]), classes, (1, *shape, len(classes)), (note,), samples=Pictures(1, *shape))


def _beside(path: Path) -> list[Path]:
    """Returns the other file of a pair: the labels of images, or the images of labels."""
    one, other = (IMAGES, LABELS) if IMAGES.search(path.name) else (LABELS, IMAGES)
    stem = one.sub("", path.name)
    return [each for each in sorted(path.parent.iterdir()) if other.search(each.name) and other.sub("", each.name) == stem][:1]


def _part(path: Path, files: list[Path]) -> Pair | None:
    """Reads the images and labels of one set; None where there is no file."""
    if not files:
        return None
    images, labels = ([each for each in files if kind.search(each.name)] for kind in (IMAGES, LABELS))
    if len(images) != 1 or len(labels) != 1:
        rule = f"{path} must hold one file of images and one of labels for each set"
        got = ", ".join(each.name for each in files[:4])
        raise StudyError(COMMAND, rule, got, "Name one file of images, with its labels beside it.")
    x, y = read_idx(images[0], 3), read_idx(labels[0], 1)
    if len(x) != len(y):
        rule = f"{images[0].name} and {labels[0].name} must have as many images as labels"
        raise StudyError(COMMAND, rule, f"{len(x)} and {len(y)}", "Download both again.")
    return x[:, None], y


def read_idx(path: Path, axes: int) -> np.ndarray:
    """Reads an idx file of bytes with so many axes.

    Raises:
        StudyError: the file has another form.
    """
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            raw = file.read()
    except (OSError, EOFError) as error:
        raise _broken(path, str(error)) from None
    start = 4 + 4 * axes
    if raw[:4] != bytes((0, 0, 8, axes)) or len(raw) < start:
        raise _broken(path, f"it starts with {raw[:4].hex()}" if raw else "it is empty")
    shape = np.frombuffer(raw, ">u4", axes, 4).tolist()
    if len(raw) - start != (size := int(np.prod(shape))):
        raise _broken(path, f"{len(raw) - start} of {size} bytes")
    return np.frombuffer(raw, np.uint8, size, start).reshape(shape)


def _broken(path: Path, why: str) -> StudyError:
    return StudyError(COMMAND, f"{path.name} must be a whole idx file", f"{path} ({why.rstrip('.')})", "Download it again.")
