"""From a table to the dataset of a study: the task, the split into three sets, and encoded inputs."""

import numpy as np
from sklearn.model_selection import train_test_split

from thinnet.study.dataset import Dataset, Split
from thinnet.study.encoding import image_encoder, table_encoder
from thinnet.study.plan import COMMAND, StudyError
from thinnet.study.suspicions import suspicions
from thinnet.study.tables import Table
from thinnet.study.targets import as_classes, as_numbers, infer_task
from thinnet.study.tasks import Classification, Regression

FEWEST_ROWS = 50
TEST_SHARE = 0.2
VALIDATION_SHARE_OF_REST = 0.25


def prepare(table: Table, task: str | None, seed: int) -> Dataset:
    """Make the dataset of a study.

    Args:
        table: the content of the file.
        task: `classification` or `regression`; inferred from the target when None.
        seed: of the split.

    Raises:
        StudyError: the target does not suit the task, or there are too few rows.

    Example:
        >>> from thinnet.study.tables import read_table
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
    if found == "classification":
        classes, y = as_classes(target)
        rows, values = split_rows(len(ids), y, seed), y
        scoring = Classification(classes)
    else:
        values = as_numbers(target)
        rows = split_rows(len(ids), None, seed)
        scoring = Regression(float(values[rows[0]].mean()), float(values[rows[0]].std()) or 1.0)
        y = ((values - scoring.mean) / scoring.scale).astype(np.float32)
    features = table.features.loc[present]
    encoder = image_encoder(features.iloc[rows[0]]) if table.image else table_encoder()
    encoder.fit(features.iloc[rows[0]])
    train, validation, test = (
        Split(np.asarray(encoder.transform(features.iloc[part]), dtype=np.float32), y[part], ids[part]) for part in rows
    )
    return Dataset(
        table.name,
        str(table.target.name),
        scoring,
        train,
        validation,
        test,
        f"drawn {'with equal shares of classes ' if found == 'classification' else ''}from seed {seed}",
        table.columns,
        (*table.notes, *_notes(table, present, found, task is None)),
        tuple(suspicions(features, values, scoring, train, test)),
    )


def split_rows(rows: int, classes: np.ndarray | None, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw 60 % of the positions for training, 20 % for validation and 20 % for testing, stratified by class."""
    rest, test = train_test_split(np.arange(rows), test_size=TEST_SHARE, stratify=classes, random_state=seed)
    labels = None if classes is None else classes[rest]
    train, validation = train_test_split(rest, test_size=VALIDATION_SHARE_OF_REST, stratify=labels, random_state=seed)
    return np.asarray(train), np.asarray(validation), np.asarray(test)


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
