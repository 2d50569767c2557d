"""Trains one configuration from one seed: a pure function of the data, the plan and the key of the trial."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from thinnet.models.loading import described
from thinnet.rng import DropoutRNG
from thinnet.study.data.dataset import EVALUATION_ROWS, Dataset, Split
from thinnet.study.data.tasks import Task
from thinnet.study.design.configuration import WEIGHT_DECAY, Configuration, TrialKey
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.training.epoch import adam, train_epoch
from thinnet.study.training.network import schedules_of, seeded_network, thinned
from thinnet.study.training.precision import Precision, Scaled
from thinnet.study.training.ranks import current, joined
from thinnet.study.training.rivals import Rival
from thinnet.study.training.weights import States, save_weights, weights_path

CURVES = ("train_loss", "train_error", "validation_loss", "validation_error")
VIEWS = ("best", "last")
Watch = Callable[[TrialKey, int], None]
"""Takes the trial that runs, and how many of its epochs are finished."""


class Seeds(NamedTuple):
    """The seeds of the initial weights, of the batches and of the masks. The split has the seed of the trial itself."""

    weights: int
    batches: int
    dropout: int


@dataclass(frozen=True)
class Trial:
    """The result of training one configuration from one seed.

    Args:
        configuration: what was trained.
        seed: the seed.
        curves: for each of CURVES one number an epoch, all measured in eval mode.
        best: the index of the epoch with the lowest validation loss.
        seconds: the time of the training steps, without evaluation.
        digest: the SHA-256 of the weights file.
        failed: why there is no result; empty where there is one.
    """

    configuration: Configuration
    seed: int
    curves: dict[str, list[float]]
    best: int
    seconds: float
    digest: str = ""
    failed: str = ""

    @property
    def key(self) -> TrialKey:
        """The name of this trial."""
        return TrialKey(self.configuration, self.seed)

    @property
    def next_step(self) -> str:
        """What to do about a failure, where its reason says that; empty elsewhere."""
        return self.failed.rstrip(".").partition(". ")[2] if self.failed.startswith("--") else ""

    @property
    def loss(self) -> float:
        """The lowest validation loss; infinite where the trial failed."""
        return math.inf if self.failed else self.curves["validation_loss"][self.best]

    def at(self, view: str) -> dict[str, float]:
        """Returns the value of each curve at the `best` or the `last` epoch."""
        index = self.best if view == "best" else -1
        return {name: self.curves[name][index] for name in CURVES}


def run_trial(data: Dataset, plan: Plan, folder: Path, key: TrialKey, watch: Watch | None = None) -> Trial:
    """Trains one trial and saves its weights in the folder of the study.

    A loss that is not finite, memory that does not suffice and an error of the model are results too: the trial says why it
    failed.
    """
    trial, states = _attempt(data, plan, key, watch)
    return trial if trial.failed else replace(trial, digest=save_weights(weights_path(folder, key), states))


def follow() -> None:
    """Trains what rank 0 trains, until its study ends."""
    with joined() as ranks:
        for data, plan, key in ranks.orders() if ranks is not None else ():
            _attempt(data, plan, key)


def _attempt(data: Dataset, plan: Plan, key: TrialKey, watch: Watch | None = None) -> tuple[Trial, States]:
    ranks = current()
    try:
        with one_thread():
            trained = train(data, plan, key, watch)
    except StudyError as error:
        trained = Trial(*key, {}, 0, 0.0, failed=str(error)), {}
    except (MemoryError, RuntimeError, ValueError) as error:
        reason = described(error)
        if ranks is not None:
            ranks.check(reason)
        trained = Trial(*key, {}, 0, 0.0, failed=reason), {}
    if ranks is not None:
        ranks.training = False
    return trained


def train(data: Dataset, plan: Plan, key: TrialKey, watch: Watch | None = None) -> tuple[Trial, States]:
    """Trains one trial; the test set is not used. Trials of one seed share initial weights, batches and random bits.

    Returns:
        The trial, and the weights of its best and its last epoch.

    Raises:
        StudyError: a loss is not finite.
    """
    ranks = current()
    if ranks is not None:
        ranks.announce(data, plan, key)
    seeds = seeds_of(plan, key.seed)
    precision = precision_of(plan)
    parts = dict(zip(("train", "validation"), data.sets(key.seed), strict=True))
    steps = plan.epochs * math.ceil(len(parts["train"]) / plan.batch)
    network = seeded_network(data, plan, key.configuration, seeds.weights, parts["train"])
    network = thinned(network, data, plan, key.configuration)
    if ranks is not None:
        ranks.prepare(network, data.by_sample)
    rng = DropoutRNG(seeds.dropout, schedules_of(network, key.configuration, steps)).bind(network)
    optimizer = Scaled(_optimizer(data, plan, network, key.configuration), precision.scaler)
    model = precision.model(network)
    sets = {name: _on_device(part, precision.device) for name, part in parts.items()}
    backward = partial(_backward, precision, network)
    order = torch.Generator().manual_seed(seeds.batches)
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    best, states, step, seconds = 0, {}, 0, 0.0
    for epoch in range(plan.epochs):
        if watch is not None:
            watch(key, epoch)
        started = time.perf_counter()
        model.train()
        x, y, ids = sets["train"]
        batches = _batches(network, plan, len(y), order)
        batches = ((rows if ranks is None else ranks.part(rows)).to(precision.device) for rows in batches)
        loss = partial(_mean_loss, data.task, y, network.members if isinstance(network, Rival) else 1)
        for _ in train_epoch(model, optimizer, rng, x, batches, loss, step, ids if data.by_sample else None, backward):
            step += 1
        seconds += time.perf_counter() - started
        _record(curves, model, data, sets, f"{key.configuration.label} and seed {key.seed}")
        if epoch == 0 or curves["validation_loss"][-1] < curves["validation_loss"][best]:
            best, states["best"] = epoch, _copied(network)
    return Trial(*key, curves, best, seconds), states | {"last": _copied(network)}


def _batches(network: nn.Module, plan: Plan, rows: int, order: torch.Generator) -> Sequence[Tensor]:
    """Returns the rows of each step of an epoch."""
    size, whole = (network.batch, network.whole_batches) if isinstance(network, Rival) else (plan.batch, False)
    batches = torch.randperm(rows, generator=order).split(size)
    return batches[: max(rows // size, 1)] if whole else batches


def _mean_loss(task: Task, y: Tensor, members: int, output: Tensor, rows: Tensor) -> Tensor:
    if members == 1:
        losses = task.loss(output, y.index_select(0, rows))
    else:
        losses = task.loss(output, y[rows].repeat_interleave(members)).reshape(-1, members).mean(1)
    ranks = current()
    return losses.mean() if ranks is None else ranks.mean(losses)


def _backward(precision: Precision, network: nn.Module, loss: Tensor) -> None:
    precision.backward(loss)
    if (ranks := current()) is not None:
        ranks.sum_gradients(network)


def _optimizer(data: Dataset, plan: Plan, network: nn.Module, configuration: Configuration) -> torch.optim.Optimizer:
    """Returns the optimiser of the user or of a rival, or Adam; AdamW where weight decay is compared with dropout."""
    if isinstance(network, Rival):
        return network.optimizer()
    decay = configuration.rate if configuration.method == WEIGHT_DECAY else None
    if data.file is not None:
        return data.file.optimizer(network.parameters(), plan.learning_rate, decay)
    return adam(network, plan.learning_rate, decay or 0.0)


def seeds_of(plan: Plan, seed: int) -> Seeds:
    """Returns the seeds of a trial: they depend on the seed of the plan and on its own."""
    return Seeds(*np.random.SeedSequence([plan.seed, seed]).generate_state(3).tolist())


def precision_of(plan: Plan) -> Precision:
    """Returns the device and the precision of a plan.

    Raises:
        StudyError: this machine does not have the device or the precision.
    """
    ranks = current()
    try:
        return Precision(plan.device, plan.precision, 0 if ranks is None else ranks.device)
    except ValueError as error:
        got = f"{plan.device} and {plan.precision} ({error})"
        raise StudyError("--device", "device and precision must exist here", got, "Use cpu and 32-true.") from None


def score(model: nn.Module, task: Task, x: Tensor, y: Tensor, at_once: int = EVALUATION_ROWS) -> tuple[Tensor, Tensor]:
    """Returns the loss and the error of every sample in eval mode, both (N,) and float64."""
    model.eval()
    with torch.no_grad():
        output = torch.cat([model(rows).float() for rows in x.split(at_once)])
        return task.loss(output, y).double(), task.error(output, y).double()


@contextmanager
def one_thread() -> Iterator[None]:
    """Uses one torch thread, so that sums have the same order however many trials run at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _record(curves: dict[str, list[float]], model: nn.Module, data: Dataset, sets: dict, trial: str) -> None:
    """Adds one epoch to the curves; `trial` is for the error message."""
    for name, (x, y, _) in sets.items():
        losses, errors = _scores(model, data, x, y)
        loss = losses.mean().item()
        if not math.isfinite(loss):
            epoch = len(curves["validation_loss"]) + 1
            got = f"{loss} after epoch {epoch} of {trial}"
            advice = "Use a smaller --learning-rate and a new --out."
            raise StudyError("--learning-rate", f"the {name} loss must stay finite", got, advice)
        curves[f"{name}_loss"].append(loss)
        curves[f"{name}_error"].append(data.task.total(errors.mean().item()))


def _scores(model: nn.Module, data: Dataset, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the loss and the error of every sample, computed by all ranks."""
    ranks = current()
    if ranks is None:
        return score(model, data.task, x, y, data.evaluation_rows)
    return ranks.scores(lambda rows: score(model, data.task, x[rows], y[rows], data.evaluation_rows), len(y), y)


def _on_device(part: Split, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    x, y, ids = (torch.from_numpy(array).to(device) for array in (part.x, part.y, part.ids))
    return x, y, ids


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
