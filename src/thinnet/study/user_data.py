"""The data of a user's file, and a first run of its model."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thinnet import DropoutRNG
from thinnet.models.edit.rates import owners
from thinnet.models.edit.set_rates import set_rates
from thinnet.models.loading import users_code
from thinnet.study.dataset import Dataset, Split, classes_of
from thinnet.study.plan import COMMAND, StudyError
from thinnet.study.preparing import FEWEST_ROWS, split_in_words, split_rows, validation_rows
from thinnet.study.tasks import Classification, Custom, Regression, Task
from thinnet.study.user_file import UserFile

TRIED, SHOWN = 3, 8


def load_file(file: UserFile, name: str, task: str | None, seed: int) -> Dataset:
    """Return the dataset of a file.

    Args:
        file: the opened file. Its data() returns (x, y), which is split with the seed, or ((x, y), (x, y), (x, y)).
        name: the name of the data.
        task: `classification` or `regression`; whole-number targets are classes when None.
        seed: of the split.

    Raises:
        StudyError: the data have another form.
    """
    development, rows, test, split_seed = _sets(file, seed)
    scoring = _task(file, development.y, np.concatenate([development.y, test.y]), task)
    if isinstance(scoring, Regression):
        y = [((part.y - scoring.mean) / scoring.scale).astype(np.float32) for part in (development, test)]
        development, test = replace(development, y=y[0]), replace(test, y=y[1])
    words = "as the file gives them" if split_seed is None else split_in_words(seed, classes_of(development.y) is not None)
    data = Dataset(name, "y", scoring, development, rows, test, split_seed, words, file=file)
    by_sample, note = _tried(file, scoring, data.train)
    return replace(data, by_sample=by_sample, notes=(note,))


def _tried(file: UserFile, task: Task, train: Split) -> tuple[bool, str]:
    """Run the model and the loss on a few samples.

    Returns:
        Whether masks can follow the samples, and a sentence on the model and the places of its dropout.
    """
    x, y, ids = (torch.from_numpy(array[:TRIED]) for array in (train.x, train.y, train.ids))
    with torch.random.fork_rng(devices=[]):
        model = file.network()
        set_rates(model, 0.5)
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


def _sets(file: UserFile, seed: int) -> tuple[Split, int, Split, int | None]:
    """Return the samples for development, how many of them are for validation, those of the test, and the seed of the split."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # data that are drawn are the same in the run that resumes
        given = file.call("data")
    rule = "data() must return (x, y), or such a pair for training, validation and test"
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise StudyError(str(file.path), rule, type(given).__name__, "Return two arrays or tensors, or three pairs of them.")
    arrays = [_pair(file, pair, rule) for pair in ([given] if len(given) == 2 else given)]
    shapes = {(x.shape[1:], y.shape[1:]) for x, y in arrays}
    if len(shapes) > 1:
        got = " and ".join(sorted(f"{x} with {y}" for x, y in shapes))
        raise StudyError(str(file.path), "the samples of all sets must have one shape", got, "Pad or cut them.")
    x, y = (np.concatenate(part) for part in zip(*arrays, strict=True))
    if len(y) < FEWEST_ROWS:
        raise StudyError(str(file.path), f"samples must be at least {FEWEST_ROWS}", len(y), "Add samples.")
    every = Split(x, y, np.arange(len(y)))
    if len(arrays) == 3:
        validation, test = (len(part) for _, part in arrays[1:])
        return every.rows(slice(-test)), validation, every.rows(slice(-test, None)), None
    development, test = split_rows(len(y), classes_of(y), seed)
    return every.rows(development), validation_rows(len(development)), every.rows(test), seed


def _pair(file: UserFile, pair: Any, rule: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise StudyError(str(file.path), rule, type(pair).__name__, "Return two arrays or tensors, or three pairs of them.")
    x, y = (np.asarray(each.detach().cpu() if isinstance(each, Tensor) else each) for each in pair)
    x = x.astype(np.float32) if x.dtype == np.float64 else x
    if x.dtype == object or y.dtype == object or not x.ndim or not y.ndim or len(x) != len(y):
        got = f"shapes {x.shape} and {y.shape} of {x.dtype} and {y.dtype}"
        raise StudyError(str(file.path), "x and y must be numbers with one row for each sample", got, "Make them arrays.")
    return x, y


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
