"""The result of `distill`: a student, and how far it and plain weight scaling are from the average that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.deterministic.divergences import apart


@dataclass(frozen=True, eq=False)
class Judged:
    """How far a network of one pass is from the average of the teacher's draws, on inputs that it was not trained on.

    Args:
        distances: one a held-out input: KL for probabilities, squared error for values.
        parameters: how many numbers the network has.
        other: the share of inputs whose class is another one; None for values.
    """

    distances: Tensor = field(repr=False)
    parameters: int
    other: float | None

    @property
    def mean(self) -> float:
        """The mean distance."""
        return float(self.distances.double().mean())


@dataclass(frozen=True, eq=False)
class Distilled:
    """A student, and what is known of it.

    Args:
        student: in eval; one pass of it stands for many of the teacher.
        losses: of each step, in order.
        interrupted: whether the training was ended from the keyboard.
        n: draws of the teacher for each batch.
        judged_by: draws of the teacher on the held-out inputs.
        report: by "weight scaling" and "student"; empty without held-out inputs.
    """

    student: nn.Module
    losses: tuple[float, ...] = field(repr=False)
    interrupted: bool
    n: int
    judged_by: int
    report: dict[str, Judged]

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.losses)

    @property
    def gain(self) -> tuple[float, float]:
        """By how much the student is nearer than weight scaling, and the standard error of that over the inputs, in pairs.

        Raises: ValueError where there were no held-out inputs.
        """
        if not self.report:
            raise ValueError("Distilled.gain: there must be held-out inputs; got none. Call distill(..., heldout=x).")
        nearer = (self.report["weight scaling"].distances - self.report["student"].distances).double()
        return float(nearer.mean()), float(nearer.std() / len(nearer) ** 0.5) if len(nearer) > 1 else float("nan")

    def __str__(self) -> str:
        """The report."""
        ended = ", ended from the keyboard" if self.interrupted else ""
        lines = [f"distilled in {self.steps} steps, {self.n} draws of the teacher each{ended}"]
        if not self.report:
            return "\n".join([*lines, "not judged: there were no held-out inputs"])
        count = len(self.report["student"].distances)
        classes = self.report["student"].other is not None
        what = "KL(average || network)" if classes else "distance to the average"
        cells = [("", "passes", "parameters", what, *(("other class",) if classes else ()))]
        for name, judged in self.report.items():
            row = (name, "1", str(judged.parameters), f"{judged.mean:.3g}")
            cells.append((*row, f"{judged.other:.3g}") if judged.other is not None else row)
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
        gain, error = self.gain
        nearer = f"the student is nearer by {gain:.3g} ± {error:.1g} (standard error of pairs)"
        return "\n".join([*lines, f"{count} held-out inputs; the average has {self.judged_by} passes; {nearer}"])


def judge(
    model: nn.Module,
    networks: Mapping[str, nn.Module],
    x: Tensor,
    n: int,
    seed: int,
    kind: str | None,
) -> dict[str, Judged]:
    """Compares networks of one pass with one average of the teacher's draws."""
    from thinnet.inference.monte_carlo.sampling import sample

    drawn = sample(model, x, n=n, seed=seed, kind=kind)
    found: dict[str, Judged] = {}
    for name, network in networks.items():
        with torch.no_grad():
            output: Any = network(x)
        mean = output[0] if isinstance(output, (tuple, list)) else output
        distances = apart(drawn, mean)
        other = None
        if drawn.kind == "logits":
            other = float((mean.argmax(-1) != drawn.mean.argmax(-1)).double().mean())
        found[name] = Judged(distances, sum(p.numel() for p in network.parameters()), other)
    return found
