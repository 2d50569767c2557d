"""Loads a built-in problem."""

import pandas as pd
from sklearn import datasets

from thinnet.study.data.dataset import Dataset
from thinnet.study.data.files import Contents
from thinnet.study.data.functions import FUNCTIONS, sampled
from thinnet.study.data.preparing import prepare
from thinnet.study.data.tables import Table, from_contents, read_table

TABLES = {
    "breast_cancer": (datasets.load_breast_cancer, "diagnosis"),
    "wine": (datasets.load_wine, "cultivar"),
    "diabetes": (datasets.load_diabetes, "progression"),
}


def load(name: str, task: str | None, seed: int) -> Dataset:
    """Returns the dataset of a built-in problem; `seed` draws the split or the samples.

    Example:
        >>> data = load("wine", None, seed=0)
        >>> data.task.name, data.target, data.train.x.shape
        ('classification', 'cultivar', (106, 13))
    """
    if name in FUNCTIONS:
        return sampled(name, seed)
    return prepare(_table(name) if name in TABLES else read_table(None, None), task, seed)


def _table(name: str) -> Table:
    loader, target = TABLES[name]
    bunch = loader(as_frame=True)
    names = getattr(bunch, "target_names", None)
    values = bunch.target if names is None else pd.Series([str(names[code]) for code in bunch.target])
    return from_contents(name, Contents(bunch.data.assign(**{target: values}), False, ()), target, {})
