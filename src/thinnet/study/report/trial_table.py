"""Every trial as rows for analysts: one row for each trial and epoch."""

from collections.abc import Iterable

import pandas as pd

from thinnet.study.training.trial import CURVES, Trial


def by_epoch(trials: Iterable[Trial]) -> pd.DataFrame:
    """Returns one row for each trial and epoch: the configuration, the seed, the epoch from 1, and the value of each curve.

    `best` marks the epoch with the lowest validation loss of a trial. `seconds` is the time of the training steps up to the end
    of the epoch; every epoch counts the same share.

    Example:
        >>> from thinnet.study.design.configuration import Configuration
        >>> curves = {name: [0.5, 0.25] for name in CURVES}
        >>> rows = by_epoch([Trial(Configuration("dropout", 0.5), 3, curves, best=1, seconds=4.0)])
        >>> rows[["method", "rate", "seed", "epoch", "validation_loss", "best", "seconds"]].values.tolist()
        [['dropout', 0.5, 3, 1, 0.5, False, 2.0], ['dropout', 0.5, 3, 2, 0.25, True, 4.0]]
    """
    rows = [
        trial.configuration._asdict()
        | {"seed": trial.seed, "epoch": epoch + 1}
        | {name: trial.curves[name][epoch] for name in CURVES}
        | {"best": epoch == trial.best, "seconds": trial.seconds * (epoch + 1) / len(trial.curves[CURVES[0]])}
        for trial in sorted(trials, key=lambda trial: trial.key)
        for epoch in range(0 if trial.failed else len(trial.curves[CURVES[0]]))
    ]
    return pd.DataFrame(rows)
