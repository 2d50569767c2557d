"""Monte-Carlo averages in a study: does the average of many sub-networks beat a single deterministic pass on the test set?"""

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from thinnet.inference import sample
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.tasks import Classification, Task
from thinnet.study.design.plan import Plan
from thinnet.study.evidence.agreement import Evidence
from thinnet.study.evidence.contrast import Contrast
from thinnet.study.evidence.formatting import difference, quantity
from thinnet.study.training.scores import Scores, trained
from thinnet.study.training.trial import Trial

SAMPLES = 50


def averages_on_test(data: Dataset, plan: Plan, folder: Path, trials: list[Trial]) -> Scores:
    """Scores every test row by the average of sub-networks, with the best weights of the trials of one configuration."""
    x, y = torch.from_numpy(data.test.x), torch.from_numpy(data.test.y)
    losses, errors, size = [], [], data.evaluation_rows
    for network in trained(data, plan, folder, trials, "best"):
        parts = zip(x.split(size), torch.from_numpy(data.test.ids).split(size), strict=True)
        drawn = [_drawn(network, rows, ids.tolist() if data.by_sample else None, plan.seed) for rows, ids in parts]
        output = torch.cat([averaged(draws, data.task) for draws in drawn])
        losses.append(data.task.loss(output, y).double())
        errors.append(data.task.error(output, y).double())
    return {"loss": torch.stack(losses).numpy(), "error": torch.stack(errors).numpy()}


def _drawn(network: nn.Module, x: Tensor, ids: list[int] | None, seed: int) -> Tensor:
    return sample(network, x, n=SAMPLES, seed=seed, samples=ids, kind="values", progress=False).draws


def averaged(outputs: Tensor, task: Task) -> Tensor:
    """Averages the outputs of sub-networks: (n, N, outputs) to (N, outputs).

    For classes the result is the logarithm of the mean probability, so that the task scores it like a single pass.

    Example:
        >>> averaged(torch.tensor([[[0.0, 0.0]], [[0.0, 800.0]]]), Classification(("a", "b"))).exp()
        tensor([[0.2500, 0.7500]])
    """
    if isinstance(task, Classification):
        return outputs.log_softmax(-1).logsumexp(0) - math.log(len(outputs))
    return outputs.mean(0)


def averaging_text(contrasts: Mapping[str, Contrast], task: Task, name: str) -> str:
    """Describes the contrasts of loss and error: the average (`chosen`) less the deterministic pass (`without`)."""
    loss, error = contrasts["loss"], contrasts["error"]
    errors = f"The {task.error_name} is {quantity(error.chosen, task)} instead of {quantity(error.without, task)}."
    start = f"The average of {SAMPLES} sub-networks at {name} has a test {task.loss_name} of {loss.chosen:.3g}"
    numbers = f"a single deterministic pass has {loss.without:.3g}: {difference(loss)}. {errors}"
    return f"{start}; {numbers} {_advice(loss.evidence)}"


def _advice(evidence: Evidence | None) -> str:
    if evidence is not None and evidence.worse:
        return "The single pass is better here; thinnet.inference.calibrate shows whether temperature scaling changes that."
    if evidence is not None and evidence.better:
        return (
            "The average is better here: use thinnet.inference.sample, or thinnet.inference.distill to get it from one network."
        )
    return "The data do not show a difference: use the single pass."
