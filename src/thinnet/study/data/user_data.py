"""The data of a user's file, and a first run of its model."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from thinnet.models.edit.checks import matches
from thinnet.models.edit.rates import owners
from thinnet.models.edit.set_rates import set_rates
from thinnet.models.found import Sites
from thinnet.models.loading import users_code
from thinnet.models.sites import sites
from thinnet.rng import DropoutRNG
from thinnet.study.data.dataset import Dataset, Split, classes_of
from thinnet.study.data.encoding import Encoder
from thinnet.study.data.preparing import split_in_words, split_rows, validation_rows
from thinnet.study.data.sources.arrays import Arrays
from thinnet.study.data.tasks import Classification, Custom, Regression, Task
from thinnet.study.data.user_file import UserFile
from thinnet.study.design.plan import COMMAND, FEWEST_ROWS, StudyError

TRIED, SHOWN = 3, 8
TORCH_DATA = (DataLoader, TorchDataset)
REACHING = 4
"""Passes in which training may reach a site."""

UNITS = ("dropout", "dropped keys")
"""Kinds of sites that drop units."""


class Given(NamedTuple):
    """The samples of a file, in the order of the fields of a Dataset; and the subgroups of the test samples."""

    development: Split
    validation_rows: int
    test: Split
    split_seed: int | None
    words: str
    subgroups: np.ndarray | None = None


def load_file(file: UserFile, name: str, task: str | None, seed: int) -> Dataset:
    """Returns the dataset of a file.

    Args:
        file: the opened file. Its data() returns (x, y), which is split with the seed; ((x, y), (x, y)), where the second is
            the test set; or three pairs, for training, validation and test.
        name: the name of the data.
        task: `classification` or `regression`; whole-number targets are classes when None.
        seed: of the split.

    Raises:
        StudyError: the data have another form.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # data that are drawn are the same in the run that resumes
        sets = file.call("data")
    given = _given(file, sets, seed)
    scoring = _task(file, given.development.y, np.concatenate([given.development.y, given.test.y]), task)
    if isinstance(scoring, Regression):
        development, test = (
            replace(part, y=((part.y - scoring.mean) / scoring.scale).astype(np.float32))
            for part in (given.development, given.test)
        )
        given = given._replace(development=development, test=test)
    return _dataset(file, name, scoring, given)


def load_arrays(arrays: Arrays, file: UserFile, name: str, seed: int) -> Dataset:
    """Returns the dataset of samples by path, for a built-in network."""
    sets = arrays.development if arrays.test is None else (arrays.development, arrays.test)
    task = Classification(arrays.classes)
    data = _dataset(file, name, task, _given(file, sets, seed))
    notes, encoder = (*arrays.notes, *data.notes), arrays.samples and Encoder.of(arrays.samples, task, arrays.target)
    return replace(data, target=arrays.target, notes=notes, warnings=arrays.warnings, encoder=encoder)


def _dataset(file: UserFile, name: str, task: Task, given: Given) -> Dataset:
    data = Dataset(name, "y", task, *given[:5], file=file, subgroups=given.subgroups)
    by_sample, note = _tried(file, task, data.train)
    warnings = () if file.is_built_in else (*_fixed(file, data.train), *_two_numbers(task, data.train.y))
    return replace(data, by_sample=by_sample, notes=(note,), warnings=warnings)


def _tried(file: UserFile, task: Task, train: Split) -> tuple[bool, str]:
    """Runs the model and the loss on a few samples.

    Returns:
        Whether masks can follow the samples, and a sentence on the model and the places of its dropout.
    """
    x, y, ids = (torch.from_numpy(array[:TRIED]) for array in (train.x, train.y, train.ids))
    with torch.random.fork_rng(devices=[]):
        model = file.network()
        set_rates(model, 0.5)
        with users_code(COMMAND, f"Let model() take the first {TRIED} samples of data()."):
            output = model.eval()(x)
        _check_output(file, task, output, y)
        with users_code(COMMAND, f"Let loss() take the output for the first {TRIED} samples of data()."):
            losses = task.loss(output, y)
        with users_code(COMMAND, f"Let model() take the first {TRIED} samples of data() in train mode, at a rate of 0.5."):
            model.train()(x)
        rng = DropoutRNG(0).bind(model)
        try:
            rng.at(0, samples=ids)
            model(x)
            by_sample = True
        except ValueError:  # a site has something else on axis 0
            by_sample = False
    if losses.shape != (len(y),):
        got = f"shape {tuple(losses.shape)} for {len(y)} samples"
        raise StudyError(str(file.path), "loss must return one number a sample", got, "Average over all axes but the first.")
    patterns = file.places.split("+")
    places = [owner.name for owner in owners(model) if not owner.idle and any(matches(owner.name, each) for each in patterns)]
    size = sum(parameter.numel() for parameter in model.parameters())
    named = ", ".join(places[:SHOWN]) + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")
    masks = "" if by_sample else " Masks follow the step, not the sample: the model has other things than samples on axis 0."
    return by_sample, f"The model is {type(model).__name__} with {size:,} parameters; the rate is set at {named}.{masks}"


def _fixed(file: UserFile, train: Split) -> list[str]:
    """Names dropout whose rate the study cannot set; refuses a model where it can set none.

    Raises:
        StudyError: training reaches no dropout site that has a rate.
        LoadError: the model raises an error at a rate of 0.
    """
    x = torch.from_numpy(train.x[:TRIED])

    def found(rate: float) -> Sites:
        set_rates(model, rate)
        with users_code(COMMAND, f"Let model() take the first {TRIED} samples of data() in train mode, at a rate of {rate:g}."):
            return sites(model, x, passes=REACHING)

    with torch.random.fork_rng(devices=[]):
        model = file.network()
        unreached = {site.name for site in found(0.5) if site.kind == "not reached"}
        fixed = [site for site in found(0.0) if site.kind in UNITS and site.on_in_train and site.measured]
    lines = ", ".join(dict.fromkeys(Path(site.line or site.name).name for site in fixed))
    advice = "Make it a torch.nn.Dropout of the model, or pass an attribute of the model as its rate."
    names = [owner.name for owner in owners(model) if not owner.idle]
    if set(names) <= unreached:
        got = f"{', '.join(names)}, which forward() does not call" + (f", and a rate in {lines}" if fixed else "")
        rule = "the study must be able to set the rate of a dropout site"
        raise StudyError(str(file.path), rule, got, advice if fixed else "Call it in forward().")
    return [f"{lines} drops units at every rate, also at p = 0, as the study cannot set it. {advice}"] if fixed else []


def _two_numbers(task: Task, y: np.ndarray) -> list[str]:
    """Warns of classes that are read as numbers."""
    if isinstance(task, Regression) and len(np.unique(y)) == 2:
        return ["The targets are two numbers of a floating type, so this is a regression. For classes, return integers."]
    return []


def _check_output(file: UserFile, task: Task, output: Tensor, y: Tensor) -> None:
    """Refuses an output that the loss of the task cannot take; a loss of the user takes what it wants.

    Raises:
        StudyError: the output has another shape.
    """
    shape = tuple(output.shape)
    if isinstance(task, Classification) and (shape[:-1] != tuple(y.shape) or shape[-1] < task.outputs):
        rule, targets = "the output must have one value for each class on its last axis", f"{task.outputs} classes"
    elif isinstance(task, Regression) and output.numel() != y.numel():
        rule, targets = "the output must have one number for each sample", "one number each"
    else:
        return
    got = f"shape {shape} for targets of shape {tuple(y.shape)} with {targets}"
    advice = "Change the last layer of model(), or define loss()."
    if isinstance(task, Regression) and shape[:-1] == tuple(y.shape):
        advice += " If the targets are classes, return them as integers."
    raise StudyError(str(file.path), rule, got, advice)


def _given(file: UserFile, sets: Any, seed: int) -> Given:
    """Checks what data() returns, and draws the sets that it does not give."""
    rule = "data() must return (x, y), or such pairs for development and test, or for training, validation and test"
    for each in (sets, *(sets if isinstance(sets, tuple | list) else ())):
        if isinstance(each, TORCH_DATA):
            samples = "loader.dataset" if isinstance(each, DataLoader) else "dataset"
            advice = f"Return its samples: x, y = zip(*{samples}), then torch.stack(x) and torch.tensor(y)."
            raise StudyError(str(file.path), rule, type(each).__name__, advice)
    if not isinstance(sets, tuple | list) or len(sets) not in (2, 3):
        raise StudyError(str(file.path), rule, type(sets).__name__, "Return two arrays or tensors, or pairs of them.")
    pairs = list(sets) if len(sets) == 3 or all(isinstance(each, tuple) for each in sets) else [sets]
    *earlier, last = pairs
    last, subgroups = (last[:2], np.asarray(last[2])) if isinstance(last, tuple) and len(last) == 3 else (last, None)
    arrays = [_pair(file, pair, rule) for pair in (*earlier, last)]
    shapes = {(x.shape[1:], y.shape[1:]) for x, y in arrays}
    if len(shapes) > 1:
        got = " and ".join(sorted(f"{x} with {y}" for x, y in shapes))
        raise StudyError(str(file.path), "the samples of all sets must have one shape", got, "Pad or cut them.")
    x, y = (np.concatenate(part) for part in zip(*arrays, strict=True))
    if len(y) < FEWEST_ROWS:
        raise StudyError(str(file.path), f"samples must be at least {FEWEST_ROWS}", len(y), "Add samples.")
    every, test = Split(x, y, np.arange(len(y))), len(arrays[-1][1])
    if subgroups is not None and subgroups.shape != (test,):
        got = f"shape {subgroups.shape} for {test} samples"
        raise StudyError(str(file.path), "subgroups must be one name for each sample of a given test set", got, "Correct them.")
    if len(arrays) == 1:
        development, rows = split_rows(len(y), classes_of(y), seed)
        words = split_in_words(seed, classes_of(y) is not None)
        return Given(every.rows(development), validation_rows(len(development)), every.rows(rows), seed, words)
    development, tested = every.rows(slice(-test)), every.rows(slice(-test, None))
    if len(arrays) == 3:
        return Given(development, len(arrays[1][1]), tested, None, "as the file gives them", subgroups)
    words = "the test rows as given, the others divided anew for each seed of a trial"
    return Given(development, validation_rows(len(development)), tested, seed, words, subgroups)


def _pair(file: UserFile, pair: Any, rule: str) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise StudyError(str(file.path), rule, type(pair).__name__, "Return two arrays or tensors, or three pairs of them.")
    x, y = (np.asarray(each.detach().cpu() if isinstance(each, Tensor) else each) for each in pair)
    x = x.astype(np.float32) if x.dtype == np.float64 else x
    y = y.astype(np.int64) if y.dtype == bool else y
    if y.dtype.kind in "US":
        rule, advice = "targets must be numbers", "Number the classes: numpy.unique(y, return_inverse=True)[1]."
        raise StudyError(str(file.path), rule, f"the text {str(y.flat[0])!r}", advice)
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
