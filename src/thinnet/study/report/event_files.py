"""The curves of every trial as event files for TensorBoard."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from thinnet.report.extras import need
from thinnet.study.training.trial import CURVES, Trial
from thinnet.study.training.weights import weights_path

FOLDER, PARTIAL = "tensorboard", "tensorboard.partial"


def logged(trials: Iterable[Trial], finished: Iterable[Trial], folder: Path) -> Iterator[Trial]:
    """Yields the trials, and writes the event files of each as it finishes.

    Args:
        trials: the trials of this run.
        finished: those of earlier runs, which are written first.
        folder: the folder of the study; each trial is a run in its folder `tensorboard`.
    """
    for trial in finished:
        log(trial, folder)
    for trial in trials:
        log(trial, folder)
        yield trial


def log(trial: Trial, folder: Path) -> None:
    """Writes the curves, the configuration and the lowest validation loss of a trial, where they are not written yet."""
    run, partial = folder / FOLDER / weights_path(folder, trial.key).stem, folder / PARTIAL
    if run.exists() or trial.failed:
        return
    shutil.rmtree(partial, ignore_errors=True)
    with need("torch.utils.tensorboard", "--log tensorboard").SummaryWriter(str(partial)) as writer:
        for name in CURVES:
            part, quantity = name.split("_")
            for epoch, value in enumerate(trial.curves[name], start=1):
                writer.add_scalar(f"{quantity}/{part}", value, epoch)
        parameters = trial.configuration._asdict() | {"seed": trial.seed}
        writer.add_hparams(parameters, {"lowest validation loss": trial.loss}, run_name=".")
    run.parent.mkdir(exist_ok=True)
    os.replace(partial, run)
