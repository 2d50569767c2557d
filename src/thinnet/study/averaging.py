"""One pass of the whole network, or the average of many thinned ones: which scores better on the test rows."""

import math
from pathlib import Path

import torch
from torch import Tensor

from thinnet.inference import sample
from thinnet.study.cases import Data
from thinnet.study.plan import Plan
from thinnet.study.scores import Scores, trained
from thinnet.study.tasks import Classification, Task
from thinnet.study.trial import Trial

DRAWS = 50


def averages_on_test(data: Data, plan: Plan, folder: Path, trials: list[Trial]) -> Scores:
    """Scores every test row by the average of thinned networks, with the best weights of one arm.

    Args:
        data: the data.
        plan: the settings.
        folder: where the weights are.
        trials: one a seed.

    Returns:
        The losses and the errors, both (seeds, cases).
    """
    x, y = torch.from_numpy(data.test.x), torch.from_numpy(data.test.y)
    losses, errors = [], []
    for network in trained(data, plan, folder, trials, "best"):
        drawn = sample(network, x, n=DRAWS, seed=plan.seed, samples=data.test.ids.tolist(), kind="values", progress=False)
        output = averaged(drawn.draws, data.task)
        losses.append(data.task.loss(output, y).double())
        errors.append(data.task.error(output, y).double())
    return {"loss": torch.stack(losses).numpy(), "error": torch.stack(errors).numpy()}


def averaged(draws: Tensor, task: Task) -> Tensor:
    """Averages what thinned networks answer: probabilities of classes, or numbers.

    Args:
        draws: their outputs, (n, N, outputs).
        task: what an output is.

    Returns:
        An output that is scored like that of one pass, (N, outputs); of classes the logarithm of the mean probability.

    Example:
        >>> averaged(torch.tensor([[[0.0, 0.0]], [[0.0, 800.0]]]), Classification(("a", "b"))).exp()
        tensor([[0.2500, 0.7500]])
    """
    if isinstance(task, Classification):
        return draws.log_softmax(-1).logsumexp(0) - math.log(len(draws))
    return draws.mean(0)
