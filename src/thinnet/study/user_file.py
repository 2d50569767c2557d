"""A problem in a file of the user: `model()`, `data()`, and optionally `loss`, `metric`, `optimizer`, `epochs` and `batch`."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from thinnet import DropoutRNG
from thinnet.models.edit.insert import insert
from thinnet.models.edit.rates import owners, set_rates
from thinnet.models.edit.replace import replace
from thinnet.models.loading import module_from_file, users_code
from thinnet.study.dataset import Dataset, Split
from thinnet.study.plan import COMMAND, StudyError
from thinnet.study.preparing import FEWEST_ROWS, split_rows
from thinnet.study.tasks import Classification, Custom, Regression, Task

FUNCTIONS, NUMBERS = ("model", "data", "loss", "metric", "optimizer"), ("epochs", "batch", "learning_rate")
REQUIRED = ("model", "data")
TRIED, SHOWN = 3, 8


@dataclass(frozen=True)
class UserFile:
    """A file that defines a problem; every process imports it for itself.

    Args:
        path: the file.
        digest: the SHA-256 of its text, as part of the identity of a study.
    """

    path: Path
    digest: str

    def __reduce__(self) -> tuple:
        return UserFile, (self.path, self.digest)  # without the module, which has no pickle

    @cached_property
    def module(self) -> ModuleType:
        """The imported file."""
        return module_from_file(str(self.path), COMMAND)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the file; an error in it is reported with its line."""
        with users_code(COMMAND, f"For the traceback, call {name}() in Python."):
            return getattr(self.module, name)(*arguments)

    def network(self, rate: float) -> nn.Module:
        """Build the model at a rate: at every site that it has, or where `thinnet.insert` advises dropout.

        PyTorch's dropout becomes thinnet's, so that all rates of a seed share their random bits. Of several outputs, `logits`
        or the first is scored.

        Raises:
            StudyError: the model cannot be edited.
        """
        model = self.call("model")
        if not isinstance(model, nn.Module):
            advice = "Return the model, a torch.nn.Module."
            raise StudyError(str(self.path), "model() must return a torch.nn.Module", type(model).__name__, advice)
        try:
            replace(model)
            if not any(not owner.idle for owner in owners(model)):
                insert(model)
            set_rates(model, rate)
        except (ValueError, TypeError) as error:
            advice = "Put a thinnet.nn.Dropout where it should be studied."
            raise StudyError(str(self.path), "dropout must fit into the model", str(error), advice) from None
        model.register_forward_hook(lambda module, inputs, output: scored(output))
        return model

    def optimizer(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
        """Return the optimiser of the file, or Adam."""
        if hasattr(self.module, "optimizer"):
            return self.call("optimizer", list(parameters))
        return torch.optim.Adam(parameters, lr=learning_rate)


def scored(output: Any) -> Tensor:
    """Return the tensor of an output that the loss takes: itself, its `logits`, or the first element."""
    while not isinstance(output, Tensor):
        parts = output.values() if isinstance(output, dict) else output
        output = output.logits if hasattr(output, "logits") else next(iter(parts))
    return output


def open_file(path: Path) -> UserFile:
    """Import the file, and check what it defines.

    Raises:
        LoadError: the file does not exist, or its code raises an error.
        StudyError: a name is missing or has the wrong type.
    """
    file = _imported(path, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    for name in FUNCTIONS:
        if name in REQUIRED and not hasattr(file.module, name):
            advice = "Define model(), which returns the model, and data(), which returns inputs and targets."
            raise StudyError(str(path), f"the file must define {name}()", "a file without it", advice)
        if hasattr(file.module, name) and not callable(getattr(file.module, name)):
            raise StudyError(str(path), f"{name} must be a function", repr(getattr(file.module, name)), f"Write def {name}.")
    return file


@lru_cache
def _imported(path: Path, digest: str) -> UserFile:
    """Return one object for one text, so that a process imports it once."""
    return UserFile(path, digest)


def settings_of(file: UserFile) -> dict[str, Any]:
    """Return the settings of the plan that the file defines as numbers."""
    found = {name: getattr(file.module, name) for name in NUMBERS if hasattr(file.module, name)}
    for name, value in found.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise StudyError(str(file.path), f"{name} must be a number", repr(value), f"Write {name} = 20.")
    return found


def load_file(file: UserFile, task: str | None, seed: int) -> Dataset:
    """Return the dataset of a file.

    Args:
        file: the opened file. Its data() returns (x, y), which is split with the seed, or ((x, y), (x, y), (x, y)).
        task: `classification` or `regression`; whole-number targets are classes when None.
        seed: of the split.

    Raises:
        StudyError: the data have another form.
    """
    sets = _sets(file, seed, task)
    targets = np.concatenate([y for _, y, _ in sets])
    scoring = _task(file, sets[0][1], targets, task)
    if isinstance(scoring, Regression):
        sets = [(x, ((y - scoring.mean) / scoring.scale).astype(np.float32), ids) for x, y, ids in sets]
    train, validation, test = (Split(*part) for part in sets)
    by_sample, note = _tried(file, scoring, train)
    return Dataset(file.path.name, "y", scoring, train, validation, test, notes=(note,), file=file, by_sample=by_sample)


def _tried(file: UserFile, task: Task, train: Split) -> tuple[bool, str]:
    """Run the model and the loss on a few samples.

    Returns:
        Whether masks can follow the samples, and a sentence on the model and the places of its dropout.
    """
    x, y, ids = (torch.from_numpy(array[:TRIED]) for array in (train.x, train.y, train.ids))
    with torch.random.fork_rng(devices=[]):
        model = file.network(0.5)
        with users_code(COMMAND, f"Let model() take the first {TRIED} samples of data()."):
            losses = task.loss(model.eval()(x), y)
        rng = DropoutRNG(0).bind(model.train())
        try:
            rng.at(0, samples=ids)
            model(x)
            by_sample = True
        except ValueError:  # a site has something else on axis 0
            by_sample = False
    if losses.shape != (len(y),):
        got = f"shape {tuple(losses.shape)} for {len(y)} samples"
        raise StudyError(str(file.path), "loss must return one number a sample", got, "Average over all axes but the first.")
    places = [owner.name for owner in owners(model) if not owner.idle]
    size = sum(parameter.numel() for parameter in model.parameters())
    named = ", ".join(places[:SHOWN]) + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")
    masks = "" if by_sample else " Masks follow the step, not the sample: the model has other things than samples on axis 0."
    return by_sample, f"The model is {type(model).__name__} with {size:,} parameters; the rate is set at {named}.{masks}"


Part = tuple[np.ndarray, np.ndarray, np.ndarray]


def _sets(file: UserFile, seed: int, task: str | None) -> list[Part]:
    """Return inputs, targets and ids of the three sets."""
    given = file.call("data")
    rule = "data() must return (x, y), or such a pair for training, validation and test"
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise StudyError(str(file.path), rule, type(given).__name__, "Return two arrays or tensors, or three pairs of them.")
    pairs = [given] if len(given) == 2 else list(given)
    arrays = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise StudyError(str(file.path), rule, type(pair).__name__, "Return two arrays or tensors, or three pairs of them.")
        x, y = (np.asarray(each.detach().cpu() if isinstance(each, Tensor) else each) for each in pair)
        x = x.astype(np.float32) if x.dtype == np.float64 else x
        if x.dtype == object or y.dtype == object or len(x) != len(y):
            got = f"shapes {x.shape} and {y.shape} of {x.dtype} and {y.dtype}"
            raise StudyError(str(file.path), "x and y must be numbers with one row for each sample", got, "Make them arrays.")
        arrays.append((x, y))
    total = sum(len(y) for _, y in arrays)
    if total < FEWEST_ROWS:
        raise StudyError(str(file.path), f"samples must be at least {FEWEST_ROWS}", total, "Add samples.")
    ids = np.split(np.arange(total), np.cumsum([len(y) for _, y in arrays])[:-1])
    if len(arrays) == 3:
        return [(x, y, rows) for (x, y), rows in zip(arrays, ids, strict=True)]
    ((x, y),) = arrays
    classes = y if y.ndim == 1 and _classes(y, task) else None
    return [(x[rows], y[rows], rows) for rows in split_rows(total, classes, seed)]


def _classes(y: np.ndarray, task: str | None) -> bool:
    return task == "classification" or (task is None and np.issubdtype(y.dtype, np.integer))


def _task(file: UserFile, train: np.ndarray, targets: np.ndarray, task: str | None) -> Task:
    if hasattr(file.module, "loss"):
        return Custom(file)
    if _classes(targets, task):
        if targets.min() < 0:
            rule, advice = "classes must be whole numbers from 0", "Number them, or define loss."
            raise StudyError(str(file.path), rule, targets.min(), advice)
        return Classification(tuple(map(str, range(int(targets.max()) + 1))))
    if targets.ndim > 1 and targets[0].size > 1:
        raise StudyError(str(file.path), "targets must be one number a sample", f"shape {targets.shape}", "Define loss.")
    return Regression(float(train.mean()), float(train.std()) or 1.0)
