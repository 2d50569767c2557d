"""What is said of the average of thinned networks beside one pass of the whole network."""

import math
from collections.abc import Mapping

from thinnet.study.averaging import DRAWS
from thinnet.study.findings import Contrast
from thinnet.study.tasks import Task
from thinnet.study.words import difference, quantity


def told(contrasts: Mapping[str, Contrast], task: Task, rate: float) -> str:
    """Says what averaging does.

    Args:
        contrasts: of loss and error, averages less one pass.
        task: names them.
        rate: of the coins.

    Returns:
        Two sentences.
    """
    loss, error = contrasts["loss"], contrasts["error"]
    errors = f"{quantity(error.chosen, task)} in the place of {quantity(error.without, task)}"
    start = f"With the coins of p = {rate:g} on, the average of {DRAWS} thinned networks has the test {task.loss_name}"
    numbers = f"{loss.chosen:.3g} in the place of {loss.without:.3g}, {difference(loss)}, and the {task.error_name} {errors}."
    return f"{start} {numbers} {_advice(loss.interval)}"


def _advice(interval: object) -> str:
    low, high = getattr(interval, "low", -math.inf), getattr(interval, "high", math.inf)
    if low > 0:
        return "One pass is better here; thinnet.inference.calibrate says whether a temperature changes that."
    if high < 0:
        return (
            "The average is better here: thinnet.inference.sample makes it, thinnet.inference.distill puts it into one network."
        )
    return "That is no difference that was shown: one pass does."
