"""The result of `distill`: a student, and its distance from the average of the teacher."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.deterministic.divergences import divergence
from thinnet.inference.monte_carlo.sampling import sample
from thinnet.report.table import Table, Tabular


@dataclass(frozen=True, eq=False)
class Fidelity:
    """The distance of a deterministic network from the average of the teacher's draws, on held-out inputs.

    Args:
        distances: one per held-out input: KL for probabilities, squared error for values.
        parameters: the number of parameters of the network.
        disagreement: the fraction of inputs with another class than the average; None for values.
    """

    distances: Tensor = field(repr=False)
    parameters: int
    disagreement: float | None

    @property
    def mean(self) -> float:
        """The mean distance."""
        return float(self.distances.double().mean())


@dataclass(frozen=True, eq=False, repr=False)
class Distilled(Tabular):
    """A student, and its fidelity to the teacher.

    Args:
        student: the student, in eval; one pass of it approximates many of the teacher.
        losses: the loss of each step, in order.
        interrupted: whether Ctrl-C ended the training.
        n: the number of draws of the teacher for each batch.
        n_held_out: the number of draws of the teacher on the held-out inputs.
        report: the fidelity of "weight scaling" and "student"; empty without held-out inputs.
    """

    student: nn.Module
    losses: tuple[float, ...] = field(repr=False)
    interrupted: bool
    n: int
    n_held_out: int
    report: dict[str, Fidelity]

    @property
    def steps(self) -> int:
        """The number of training steps."""
        return len(self.losses)

    @property
    def gain(self) -> tuple[float, float]:
        """The distance of weight scaling minus that of the student, and the standard error of the pairs over the inputs.

        Raises: ValueError without held-out inputs.
        """
        if not self.report:
            raise ValueError("Distilled.gain: there must be held-out inputs; got none. Call distill(..., held_out=x).")
        nearer = (self.report["weight scaling"].distances - self.report["student"].distances).double()
        return float(nearer.mean()), float(nearer.std() / len(nearer) ** 0.5) if len(nearer) > 1 else float("nan")

    def tables(self) -> list[Table]:
        """Returns the report as one table."""
        ended = ", ended by Ctrl-C" if self.interrupted else ""
        title = f"distilled in {self.steps} steps, {self.n} draws of the teacher each{ended}"
        if not self.report:
            return [Table((), [], title, notes=("no comparison: there were no held-out inputs",))]
        count = len(self.report["student"].distances)
        classes = self.report["student"].disagreement is not None
        distance = "KL(average || network)" if classes else "distance to the average"
        head = ("", "passes", "parameters", distance, *(("other class",) if classes else ()))
        rows = [(name, 1, one.parameters, one.mean, one.disagreement)[: len(head)] for name, one in self.report.items()]
        gain, error = self.gain
        note = f"{count} held-out inputs; the average has {self.n_held_out} passes"
        nearer = f"the student is nearer by {gain:.3g} ± {error:.1g} (standard error of pairs)"
        return [Table(head, rows, title, notes=(f"{note}; {nearer}",))]


def compare(
    model: nn.Module,
    networks: Mapping[str, nn.Module],
    x: Tensor,
    n: int,
    seed: int,
    kind: str | None,
) -> dict[str, Fidelity]:
    """Returns the fidelity of deterministic networks to the average of n draws of the teacher."""
    draws = sample(model, x, n=n, seed=seed, kind=kind)
    found: dict[str, Fidelity] = {}
    for name, network in networks.items():
        with torch.no_grad():
            output: Any = network(x)
        mean = output[0] if isinstance(output, (tuple, list)) else output
        disagreement = None
        if draws.kind == "logits":
            disagreement = float((mean.argmax(-1) != draws.mean.argmax(-1)).double().mean())
        found[name] = Fidelity(divergence(draws, mean), sum(p.numel() for p in network.parameters()), disagreement)
    return found
