"""One network of an estimator, and its training."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from thinnet.models.thin.thin import thin
from thinnet.report.progress import Progress
from thinnet.rng import DropoutRNG, Site
from thinnet.sklearn.rates import Rates, input_site
from thinnet.sklearn.rows import Rows, blocks, inputs
from thinnet.study.design.configuration import INPUT
from thinnet.study.training.epoch import adam, train_epoch
from thinnet.study.training.perceptron import perceptron

Loss = Callable[..., Tensor]
"""The loss of each row, from outputs (N, outputs) and targets to (N,); with `reduction="mean"`, one number."""


class Seeds(NamedTuple):
    """The seeds of the initial weights, of the order of the rows and of the masks."""

    weights: int
    batches: int
    dropout: int

    @classmethod
    def of(cls, *numbers: int) -> "Seeds":
        """Returns the seeds that depend on these numbers."""
        return cls(*np.random.SeedSequence(numbers).generate_state(3).tolist())


@dataclass(frozen=True)
class Recipe:
    """What all members of an estimator have in common.

    Args:
        owner: the name of the estimator, for errors.
        hidden: the widths of the hidden layers.
        outputs: the number of outputs.
        rates: of the dropout sites.
        kind: the method at the hidden sites.
        groups: for thinned execution: the groups of a batch; 0 without.
        learning_rate: of Adam.
        decay: the weight decay of AdamW; 0 is Adam.
        batch: the batch size.
        epochs: passes over the rows.
        patience: the epochs without a lower validation loss after which training stops.
        device: where training runs.
        loss: of each row.
        score: the validation score, from outputs and targets.
    """

    owner: str
    hidden: tuple[int, ...]
    outputs: int
    rates: Rates
    kind: type[Site]
    groups: int
    learning_rate: float
    decay: float
    batch: int
    epochs: int
    patience: int
    device: str
    loss: Loss
    score: Callable[[Tensor, Tensor], float]


class Member:
    """One network with its optimiser and its curves. Between calls it is in eval mode, on the CPU and not bound.

    Args:
        recipe: how it is built and trained.
        features: the number of inputs.
        seeds: of weights, batches and masks.
    """

    def __init__(self, recipe: Recipe, features: int, seeds: Seeds) -> None:
        with torch.device("meta"):  # PyTorch's generator stays as it is
            hidden, rates = recipe.hidden, recipe.rates.hidden
            network = perceptron(features, hidden, recipe.outputs, rates, recipe.rates.input > 0, recipe.kind)
        self.network = _initialised(network.to_empty(device="cpu"), seeds.weights).eval()
        self.optimizer = adam(self.network, recipe.learning_rate, recipe.decay)
        self.seeds, self.step, self.epoch = seeds, 0, 0
        self.losses: list[float] = []
        self.validation_losses: list[float] = []
        self.validation_scores: list[float] = []

    def train(self, recipe: Recipe, rows: Rows, validation: Rows | None = None, progress: Progress | None = None) -> "Member":
        """Trains for the epochs of the recipe; with validation rows, keeps the weights of the lowest validation loss.

        Raises:
            ValueError: a loss is not finite, or a layer cannot be thinned.
        """
        network, rates = self.network, recipe.rates
        self._follow(recipe)
        self._move(recipe.device)
        x, batches_of = inputs(rows.x, recipe.device), self._batches(recipe, len(rows))
        if recipe.groups and rates.used:
            self._thin(recipe, x[torch.arange(min(recipe.batch, len(rows)), device=recipe.device)])
        rng = DropoutRNG(self.seeds.dropout, rates.schedules).bind(network) if rates.used else None
        loss = _mean_loss(recipe, rows)
        best, since, kept = math.inf, 0, None
        for _ in range(recipe.epochs):
            batches = batches_of()
            if not network.training:  # it walks over all modules
                network.train()
            losses = [*train_epoch(network, self.optimizer, rng, x, batches, loss, self.step)]
            self.step, self.epoch = self.step + len(losses), self.epoch + 1
            self.losses.append(_average(recipe, losses, batches, self.epoch))
            if progress is not None:
                progress.advance(news=f"loss {self.losses[-1]:.4g}")
            if validation is not None:
                value, since = self._evaluate(recipe, validation), since + 1
                if value < best:
                    best, since, kept = value, 0, copy.deepcopy(network.state_dict())
                if since >= recipe.patience:
                    break
        if kept is not None:
            network.load_state_dict(kept)
        self._finish(recipe, rng)
        return self

    def fits(self, recipe: Recipe, features: int) -> bool:
        """Returns whether training can go on with a recipe: widths, method and the input site are those of the network."""
        sizes = [(layer.in_features, layer.out_features) for layer in self.network if isinstance(layer, nn.Linear)]
        kinds = {type(site) for name, site in self.network.named_children() if name.startswith("hidden")}
        same = sizes == [*pairwise((features, *recipe.hidden, recipe.outputs))] and kinds <= {recipe.kind}
        return same and hasattr(self.network, INPUT) == (recipe.rates.input > 0)

    def _follow(self, recipe: Recipe) -> None:
        """Sets the rates, the learning rate and the weight decay, which may have changed since the last call."""
        for number, rate in enumerate(recipe.rates.hidden, start=1):
            self.network.get_submodule(f"hidden{number}").p = rate  # type: ignore[assignment]
        if recipe.rates.input:
            input_site(self.network).p = recipe.rates.input
        self.optimizer.param_groups[0] |= {"lr": recipe.learning_rate, "weight_decay": recipe.decay}

    def _batches(self, recipe: Recipe, rows: int) -> Callable[[], list[Tensor]]:
        def batches() -> list[Tensor]:
            seed = Seeds.of(self.seeds.batches, self.epoch).batches
            order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
            return [*order.to(recipe.device).split(recipe.batch)]

        return batches

    def _thin(self, recipe: Recipe, x: Tensor) -> None:
        thinning = thin(self.network, x, groups=recipe.groups, always=True)
        if len(thinning.thinned) < sum(rate > 0 for rate in recipe.rates.hidden):
            note = thinning.notes[0]
            thinning.undo()
            raise ValueError(
                f"{recipe.owner}: thin must skip units of every hidden layer that has dropout; got site {note}."
                " Use higher rates or wider layers."
            )

    def _evaluate(self, recipe: Recipe, rows: Rows) -> float:
        """Adds the validation loss and score of an epoch; returns the loss."""
        self.network.eval()
        with torch.no_grad():
            y = _targets(rows, "cpu")
            output = torch.cat([self.network(part.to(recipe.device)).cpu() for part in blocks(rows.x)])
            losses = recipe.loss(output, y)
            weight = torch.ones(len(rows)) if rows.weight is None else torch.from_numpy(rows.weight)
            self.validation_losses.append(float((losses * weight).sum() / weight.sum()))
            self.validation_scores.append(recipe.score(output, y))
        return self.validation_losses[-1]

    def _finish(self, recipe: Recipe, rng: DropoutRNG | None) -> None:
        if rng is not None:
            rng.unbind()
        if recipe.groups and recipe.rates.used:
            thin(self.network, undo=True)
        if recipe.rates.schedule is not None:
            for name, site in self.network.named_children():
                if name.startswith("hidden"):
                    site.p = recipe.rates.at_end(self.step)  # type: ignore[assignment]
        self.network.eval()
        self.optimizer.zero_grad()
        self._move("cpu")

    def _move(self, device: str) -> None:
        self.network.to(device)
        for state in self.optimizer.state.values():
            state |= {name: value.to(device) for name, value in state.items() if isinstance(value, Tensor)}

    def outputs(self, x: Any, hidden: bool = False) -> Tensor:
        """Returns the outputs of a single pass without dropout, or the last hidden layer, in the dtype of the inputs.

        Weights are float32. With float64 inputs the pass runs in float64, so that a row has the same result in any batch.
        """
        network = self.network[:-1] if hidden else self.network
        with torch.no_grad():
            weights = {name: value.to(_dtype(x)) for name, value in network.named_parameters()}
            return torch.cat([torch.func.functional_call(network, weights, (part,)) for part in blocks(x)])


def _dtype(x: Any) -> torch.dtype:
    return torch.float32 if x.dtype == np.float32 else torch.float64


def _initialised(network: nn.Sequential, seed: int) -> nn.Sequential:
    """Draws the weights as `nn.Linear` does, from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5), generator=generator)
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return network


def _targets(rows: Rows, device: str) -> Tensor:
    return torch.from_numpy(rows.y).to(device)


def _mean_loss(recipe: Recipe, rows: Rows) -> Loss:
    """Returns the loss of a batch, from its outputs and its rows."""
    y = _targets(rows, recipe.device)
    if rows.weight is None:
        return lambda output, batch: recipe.loss(output, y.index_select(0, batch), reduction="mean")
    weight = torch.from_numpy(rows.weight).to(recipe.device)
    return lambda output, batch: (recipe.loss(output, y[batch]) * weight[batch]).mean()


def _average(recipe: Recipe, losses: list[Tensor], batches: list[Tensor], epoch: int) -> float:
    sizes = torch.tensor([float(len(batch)) for batch in batches])
    value = float((torch.stack(losses).cpu() * sizes).sum() / sizes.sum())
    if not math.isfinite(value):
        rule = f"{recipe.owner}: the training loss must stay finite; got {value} in epoch {epoch}"
        raise ValueError(f"{rule}. Scale the inputs with StandardScaler, or use a smaller learning_rate.")
    return value
