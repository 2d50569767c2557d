"""From a table to the dataset of a study: the task, the split into three sets, and encoded inputs."""

import math

import numpy as np
from sklearn.model_selection import train_test_split

from thinnet.study.data.dataset import Dataset, Split, classes_of
from thinnet.study.data.encoding import Encoder
from thinnet.study.data.inputs import Columns, Pixels
from thinnet.study.data.suspicions import suspicions
from thinnet.study.data.tables import Table
from thinnet.study.data.targets import as_classes, as_numbers, infer_task
from thinnet.study.data.tasks import Classification, Regression
from thinnet.study.design.plan import COMMAND, FEWEST_ROWS, StudyError

TEST_SHARE = 0.2
VALIDATION_SHARE_OF_REST = 0.25


def prepare(table: Table, task: str | None, seed: int) -> Dataset:
    """Makes the dataset of a study.

    Args:
        table: the content of the file.
        task: `classification` or `regression`; inferred from the target when None.
        seed: of the split.

    Raises:
        StudyError: the target does not suit the task, or there are too few rows.

    Example:
        >>> from thinnet.study.data.tables import read_table
        >>> data = prepare(read_table(None, None), None, seed=0)
        >>> data.task.name, len(data.train), len(data.validation), len(data.test)
        ('classification', 1077, 360, 360)
    """
    present = table.target.notna().to_numpy()
    ids, target = np.flatnonzero(present), table.target.dropna()
    if len(ids) < FEWEST_ROWS:
        rule = f"rows with a target must be at least {FEWEST_ROWS} for three sets"
        raise StudyError(COMMAND, rule, len(ids), "Add rows.")
    found = task or infer_task(target)
    classes, y = as_classes(target) if found == "classification" else ((), as_numbers(target))
    development, test = split_rows(len(ids), classes_of(y), seed)
    if found == "classification":
        values, scoring = y, Classification(classes)
    else:
        scoring = Regression(float(y[development].mean()), float(y[development].std()) or 1.0)
        values, y = y, ((y - scoring.mean) / scoring.scale).astype(np.float32)
    features = table.features.loc[present]
    name = str(table.target.name)
    fitted = features.iloc[development]
    samples = Pixels.fitted(fitted) if table.image else Columns.fitted(fitted, table.columns, table.comma)
    sets = [Split(samples.inputs(features.iloc[part]), y[part], ids[part]) for part in (development, test)]
    return Dataset(
        table.name,
        name,
        scoring,
        sets[0],
        validation_rows(len(development)),
        sets[1],
        seed,
        split_in_words(seed, classes_of(y) is not None),
        table.columns if table.listed else (),
        (*table.notes, *_notes(table, present, found, task is None)),
        tuple(suspicions(features, values, scoring, *sets)),
        encoder=Encoder.of(samples, scoring, name),
    )


def split_rows(rows: int, classes: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws 80 % of the positions for training and validation and 20 % for testing, stratified by class."""
    development, test = train_test_split(np.arange(rows), test_size=TEST_SHARE, stratify=classes, random_state=seed)
    return np.sort(development), np.sort(test)


def validation_rows(development: int) -> int:
    """Returns how many of the samples that are not for testing are for validation."""
    return math.ceil(VALIDATION_SHARE_OF_REST * development)


def split_in_words(seed: int, by_class: bool) -> str:
    """Returns how the sets are made."""
    shares = " with equal shares of classes" if by_class else ""
    return f"the test rows drawn{shares} from seed {seed}, the others divided anew for each seed of a trial"


def _notes(table: Table, present: np.ndarray, task: str, inferred: bool) -> list[str]:
    notes = []
    if inferred:
        other = "regression" if task == "classification" else "classification"
        notes.append(f"The task was inferred from the target; --task {other} overrides it.")
    if left_out := int((~present).sum()):
        notes.append(f"{left_out} of {len(present)} rows have no target and were left out.")
    if missing := int(table.features[present].isna().to_numpy().sum()):
        marked = "" if table.image else "; extra inputs mark them"
        notes.append(f"{missing} missing values were imputed{marked}.")
    return notes
