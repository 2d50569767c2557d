"""The draws of a calibration: from a model with dropout on or off, or from given predictions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from thinnet.inference.calibration import fitting
from thinnet.inference.mode.switches import count_rows, take_rows
from thinnet.inference.monte_carlo.outputs import Choice, chosen
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.inference.monte_carlo.sampling import TWO, sample
from thinnet.models.edit.order import call_with
from thinnet.models.edit.rates import owners
from thinnet.models.edit.set_rates import set_rates

PARTS = "validation", "test"


class Drawn(NamedTuple):
    """Draws and, if the model predicts it, the variance of the data around them; `(n, B, C)` or `(n, B, D)`, in float64."""

    draws: Tensor
    noise: Tensor | None = None


class Sources:
    """The draws of "validation" and "test": pairs of inputs, or of a `Prediction` without a model, and observations."""

    def __init__(
        self,
        model: nn.Module | None,
        parts: Mapping[str, tuple[Any, Tensor]],
        n: int,
        seed: int,
        batch_size: int | None,
        output: Choice = None,
        two: bool = False,
    ) -> None:
        self.model, self.n, self.seed, self.batch_size, self.output, self.two = model, n, seed, batch_size, output, two
        self.inputs = {part: parts[part][0] for part in PARTS}
        self.notes: dict[str, None] = {}  # the notes of the draws, each once
        self.labels = not parts["validation"][1].is_floating_point()
        self.observed = {part: _observed(part, parts[part][1], self.labels) for part in PARTS}

    def draws(self, part: str, rates: Mapping[str, float] | None = None) -> Drawn:
        """Returns the Monte-Carlo draws of a part, at other rates if they are given."""
        found = self.inputs[part]
        if not isinstance(found, Prediction):
            found = self._sampled(found, rates)
        self.notes |= dict.fromkeys(found.notes)
        noise = None if found.aleatoric is None else self._shaped(part, found.aleatoric)
        return Drawn(self._shaped(part, found.draws), noise)

    def _sampled(self, inputs: Any, rates: Mapping[str, float] | None) -> Prediction:
        assert self.model is not None
        options: dict[str, Any] = {"n": self.n, "seed": self.seed, "batch_size": self.batch_size, "output": self.output}
        edit = set_rates(self.model, rates) if rates else None
        try:  # a single logit of two classes has kind "values" too
            return sample(self.model, inputs, kind=TWO if self.two else "values", **options)
        finally:
            if edit is not None:
                edit.undo()

    def single(self, part: str) -> Drawn:
        """Returns the output with dropout off, as a single draw."""
        assert self.model is not None
        inputs, found = self.inputs[part], []
        modes = [(module, module.training) for module in self.model.modules()]
        rows = count_rows(inputs)
        step = self.batch_size or max(1, rows)
        try:
            self.model.eval()
            with torch.no_grad():
                for first in range(0, rows, step):
                    batch = take_rows(inputs, slice(first, first + step)) if step < rows else inputs
                    found.append(chosen(call_with(self.model, batch), self.output, self.two))
        finally:
            for module, training in modes:
                module.training = training
        draws, *noise = (self._shaped(part, torch.cat(each)[None]) for each in zip(*found, strict=True))
        return Drawn(draws, noise[0].exp() if noise else None)

    def loss(self, rates: Mapping[str, float]) -> float:
        """Returns the validation NLL at given rates; for values, with the tau fitted to them."""
        (draws, noise), y = self.draws("validation", rates), self.observed["validation"]
        if self.labels:
            return nn.functional.nll_loss(fitting.log_probabilities(draws), y).item()
        variance = fitting.fit_variance(draws, y, noise) * (torch.ones((), dtype=draws.dtype) if noise is None else noise)
        return -fitting.density(draws, variance, y).mean().item()

    def _shaped(self, part: str, draws: Tensor) -> Tensor:
        y, draws = self.observed[part], draws.detach().to("cpu", torch.float64)
        if draws.shape[1] != len(y):
            raise ValueError(
                f"calibrate: {part} must have one observation a case; got {len(y)} for {draws.shape[1]} cases."
                " Give y in the order of x."
            )
        if not draws.isfinite().all():
            raise ValueError(f"calibrate: outputs must be finite; got nan or inf for {part}. Check those inputs.")
        return self._logits(part, draws, y) if self.labels else self._values(part, draws, y)

    def _logits(self, part: str, draws: Tensor, y: Tensor) -> Tensor:
        if draws.ndim == 2 or draws.shape[2:] == (1,):
            second = draws.reshape(*draws.shape[:2], 1)
            draws = torch.cat((torch.zeros_like(second), second), -1)
        if draws.ndim != 3:
            raise ValueError(
                f"calibrate: logits of labels must be (B, C); got {tuple(draws.shape[1:])} for {part}."
                " Flatten positions into cases; their intervals then ignore that positions depend on one another."
            )
        if not 0 <= int(y.min()) <= int(y.max()) < draws.shape[-1]:
            raise ValueError(
                f"calibrate: labels of {part} must be in 0 .. {draws.shape[-1] - 1}; got {int(y.min())} .. {int(y.max())}."
                " Are they values? Then give them as floating numbers."
            )
        return draws

    def _values(self, part: str, draws: Tensor, y: Tensor) -> Tensor:
        if draws[0].numel() != y.numel():
            raise ValueError(
                f"calibrate: values of {part} must have the shape of the output; got {tuple(y.shape)} for"
                f" {tuple(draws.shape[1:])}. Are they labels? Then give them as whole numbers."
            )
        return draws.reshape(len(draws), len(y), -1)


class Refit:
    """The rates of a candidate: a factor on the rate of every owner, or one rate for all, as `kind` is "factor" or "rate"."""

    def __init__(self, model: nn.Module, kind: str) -> None:
        self.kind = kind
        self.now = {owner.name: owner.p for owner in owners(model) if not owner.idle and owner.p > 0}

    def rates(self, value: float) -> dict[str, float]:
        """Returns the rate of each owner under a candidate."""
        return {name: value * p if self.kind == "factor" else value for name, p in self.now.items()}

    def possible(self, value: float) -> bool:
        """Returns whether there is an owner and all rates stay below 1."""
        return bool(self.now) and all(p < 1 for p in self.rates(value).values())


def _observed(part: str, y: Tensor, labels: bool) -> Tensor:
    if y.is_floating_point() == labels:
        raise TypeError(f"calibrate: both parts must have labels, or both values; got {y.dtype} for {part}. Convert one.")
    if labels:
        if y.ndim != 1:
            raise ValueError(f"calibrate: labels must be (B,); got {tuple(y.shape)} for {part}. One-hot? Take argmax(-1).")
        return y.detach().cpu().long()
    if not y.isfinite().all():
        raise ValueError(f"calibrate: values must be finite; got nan or inf for {part}. Leave those cases out.")
    return y.detach().to("cpu", torch.float64).reshape(len(y), -1)
