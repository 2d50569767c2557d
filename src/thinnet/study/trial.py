"""One arm of the study: a pure function of the data, the plan and its key."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from thinnet import DropoutRNG
from thinnet.study.cases import Data, Part
from thinnet.study.network import seeded_network, thinned
from thinnet.study.plan import DROPOUT, Key, Plan, StudyError
from thinnet.study.tasks import Task
from thinnet.study.weights import States, save_weights, weights_path

EVALUATION_ROWS = 8192
CURVES = ("train_loss", "train_error", "validation_loss", "validation_error")
VIEWS = ("best", "last")


@dataclass(frozen=True)
class Trial:
    """What training one arm gave.

    Args:
        rate: the arm's rate.
        seed: the arm's seed.
        curves: for each of CURVES a number an epoch, all of them measured in eval mode.
        best: the index of the epoch with the lowest hold-out loss.
        seconds: how long the training steps took, evaluation not counted.
        digest: the SHA-256 of its weights file.
        method: the arm's method.
    """

    rate: float
    seed: int
    curves: dict[str, list[float]]
    best: int
    seconds: float
    digest: str = ""
    method: str = DROPOUT

    @property
    def key(self) -> Key:
        """Which trial this is."""
        return Key(self.method, self.rate, self.seed)

    def at(self, view: str) -> dict[str, float]:
        """What the curves say at one epoch.

        Args:
            view: `best` or `last`.

        Returns:
            A number for each of CURVES.
        """
        index = self.best if view == "best" else -1
        return {name: self.curves[name][index] for name in CURVES}


def run_trial(data: Data, plan: Plan, folder: Path, key: Key) -> Trial:
    """Trains one arm and leaves its weights in the study's folder.

    Args:
        data: what to train on; the test part is not touched.
        plan: the settings.
        folder: the study's folder.
        key: which arm and seed; arms of one seed share initial weights, batches and coins.

    Returns:
        The trial, its weights already on disk.

    Raises:
        StudyError: if a loss stops being finite.
    """
    with one_thread():
        trial, states = train(data, plan, key)
    return replace(trial, digest=save_weights(weights_path(folder, key), states))


def train(data: Data, plan: Plan, key: Key) -> tuple[Trial, States]:
    """Trains one arm for every epoch of the plan.

    Args:
        data: what to train on.
        plan: the settings.
        key: which arm and seed.

    Returns:
        The trial, and the weights of its best and its last epoch.

    Raises:
        StudyError: if a loss stops being finite.
    """
    weights_seed, batches_seed, coins_seed = np.random.SeedSequence([plan.seed, key.seed]).generate_state(3).tolist()
    fabric = fabric_for(plan)
    network = thinned(seeded_network(data, plan, key.rate, weights_seed), data, plan, key)
    rng = DropoutRNG(coins_seed).bind(network)
    model, optimizer = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=plan.learning_rate, fused=True))
    held = {name: on_device(part, fabric) for name, part in (("train", data.train), ("validation", data.validation))}
    batches = torch.Generator().manual_seed(batches_seed)
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    best, states, step, seconds = 0, {}, 0, 0.0
    for epoch in range(plan.epochs):
        started = time.perf_counter()
        model.train()
        x, y, ids = held["train"]
        for rows in torch.randperm(len(y), generator=batches).split(plan.batch):
            rows = rows.to(fabric.device)
            rng.at(step, samples=ids[rows])
            optimizer.zero_grad()
            fabric.backward(data.task.loss(model(x[rows]), y[rows]).mean())
            optimizer.step()
            step += 1
        seconds += time.perf_counter() - started
        record(curves, model, data.task, held, f"rate {key.rate:g} and seed {key.seed}")
        if epoch == 0 or curves["validation_loss"][-1] < curves["validation_loss"][best]:
            best, states["best"] = epoch, copied(network)
    return Trial(key.rate, key.seed, curves, best, seconds, method=key.method), states | {"last": copied(network)}


def fabric_for(plan: Plan) -> Fabric:
    """Opens the device that a plan names.

    Args:
        plan: the settings.

    Returns:
        Lightning Fabric for one device.

    Raises:
        StudyError: if there is no such device or precision here.
    """
    try:
        return Fabric(accelerator=plan.device, devices=1, precision=plan.precision)  # pyright: ignore[reportArgumentType]
    except Exception as error:  # Fabric has no common class for "not here" and "no such name"
        reason = " ".join(str(error).split())
        got = f"{plan.device} and {plan.precision} ({reason.rstrip('.')})"
        raise StudyError("--device", "device and precision must exist here", got, "Use cpu and 32-true.") from None


def score(model: nn.Module, task: Task, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scores every case in eval mode.

    Args:
        model: the network.
        task: how to score.
        x: inputs, (N, features).
        y: targets, (N,).

    Returns:
        The loss and the error of every case, both (N,) and float64.
    """
    model.eval()
    with torch.no_grad():
        output = torch.cat([model(rows).float() for rows in x.split(EVALUATION_ROWS)])
        return task.loss(output, y).double(), task.error(output, y).double()


def record(curves: dict[str, list[float]], model: nn.Module, task: Task, held: dict, arm: str) -> None:
    """Adds one epoch to the curves.

    Args:
        curves: what to add to.
        model: the network as it is after the epoch.
        task: how to score.
        held: the training and the validation part, as tensors.
        arm: names the arm in an error.

    Raises:
        StudyError: if a loss is not finite.
    """
    for name, (x, y, _) in held.items():
        losses, errors = score(model, task, x, y)
        loss = losses.mean().item()
        if not math.isfinite(loss):
            epoch = len(curves["validation_loss"]) + 1
            got = f"{loss} after epoch {epoch} of {arm}"
            advice = "Use a smaller --learning-rate and a new --out."
            raise StudyError("--learning-rate", f"the {name} loss must stay finite", got, advice)
        curves[f"{name}_loss"].append(loss)
        curves[f"{name}_error"].append(task.total(errors.mean().item()))


def on_device(part: Part, fabric: Fabric) -> tuple[Tensor, Tensor, Tensor]:
    """Moves a part to where the model is.

    Args:
        part: inputs, targets and row ids.
        fabric: knows where.

    Returns:
        The three as tensors.
    """
    x, y, ids = (fabric.to_device(torch.from_numpy(array)) for array in (part.x, part.y, part.ids))
    return x, y, ids


def copied(network: nn.Module) -> dict[str, Tensor]:
    """Copies the weights, so that later steps do not change them.

    Args:
        network: whose weights.

    Returns:
        Its state dict on the CPU.
    """
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch use one thread, so that sums have one order however many trials run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
