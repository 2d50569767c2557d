"""The batches of CIFAR-10 and CIFAR-100, in the form for Python or the binary one."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from thinnet.study.data.sources.arrays import Arrays, Pair, check_classes
from thinnet.study.data.sources.pictures import Pictures
from thinnet.study.design.plan import COMMAND, StudyError

NAMES = re.compile(r"(data_batch_\d|test_batch)(\.bin)?|(train|test)(\.bin)?")
PIXELS = 3 * 32 * 32
ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""The names that a batch needs. A pickle with others could run any code."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}")
        return super().find_class(module, name)


def found_in(folder: Path) -> list[Path]:
    """Lists the batches in a folder, or in the only folder in it that has some."""
    for inside in (folder, *sorted(each for each in folder.iterdir() if each.is_dir())):
        files = sorted(each for each in inside.iterdir() if NAMES.fullmatch(each.name) and each.is_file())
        if files:
            return files
    return []


def is_batch(path: Path) -> bool:
    """Returns whether a name is that of a batch."""
    return bool(NAMES.fullmatch(path.name))


def read(path: Path) -> Arrays:
    """Reads a folder of batches, or one batch; the classes of CIFAR-100 are the fine ones.

    Raises:
        StudyError: a file is broken.
    """
    files = found_in(path) if path.is_dir() else [path]
    parts = [[each for each in files if each.name.startswith("test") is wanted] for wanted in (False, True)]
    train, test = (_joined(each) if each else None for each in parts)
    if train is None:
        train, test = test, None
    assert train is not None  # `files` is not empty, or this reader is not chosen
    fine = max(int(each[1].max()) for each in (train, test) if each is not None) >= 10
    classes = _classes(files[0].parent, 100 if fine else 10)
    check_classes(path, train[1], classes)
    total = len(train[1]) + (0 if test is None else len(test[1]))
    note = f"{total} images of 32 x 32 pixels, in colour; pixels are in [0, 1]."
    return Arrays(train, test, classes, (3, 32, 32, len(classes)), (note,), samples=Pictures(3, 32, 32))


def _joined(files: list[Path]) -> Pair:
    batches = [_binary(each) if each.suffix == ".bin" else _pickled(each) for each in files]
    x, y = (np.concatenate(each) for each in zip(*batches, strict=True))
    return x.reshape(-1, 3, 32, 32), y


def _binary(path: Path) -> Pair:
    """Reads records of one label (CIFAR-10) or a coarse and a fine one (CIFAR-100), and 3072 pixels."""
    labels = 2 if path.name in ("train.bin", "test.bin") else 1
    raw = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(raw) or len(raw) % (labels + PIXELS):
        raise _broken(path, f"{len(raw)} bytes, not a multiple of {labels + PIXELS}")
    records = raw.reshape(-1, labels + PIXELS)
    return records[:, labels:], records[:, labels - 1].astype(np.int64)


def _pickled(path: Path) -> Pair:
    content = _unpickled(path)
    labels = content.get(b"fine_labels", content.get(b"labels")) if isinstance(content, dict) else None
    x = content.get(b"data") if isinstance(content, dict) else None
    if labels is None or not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.shape != (len(labels), PIXELS):
        raise _broken(path, "it holds no images with labels")
    return x, np.array(labels, dtype=np.int64)


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Unpickler(file, encoding="bytes").load()
    except Exception as error:  # a broken pickle raises errors of any class
        raise _broken(path, str(error)) from None


def _classes(folder: Path, count: int) -> tuple[str, ...]:
    """Returns the names of the classes where the folder has them, else their numbers."""
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if (folder / name).is_file():
            names = (folder / name).read_text().split()
            return tuple(names) if len(names) == count else tuple(map(str, range(count)))
    for name in ("batches.meta", "meta"):
        if (folder / name).is_file():
            meta = _unpickled(folder / name)
            names = meta.get(b"fine_label_names", meta.get(b"label_names", ()))
            if len(names) == count:
                return tuple(each.decode() for each in names)
    return tuple(map(str, range(count)))


def _broken(path: Path, why: str) -> StudyError:
    return StudyError(COMMAND, f"{path.name} must be a whole CIFAR batch", f"{path} ({why.rstrip('.')})", "Unpack it again.")
