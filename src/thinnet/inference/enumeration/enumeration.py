"""Exact averages over all 2^n sub-networks of a small model: the ensemble that dropout trains.

    arithmetic   sum_m P(m) y_m(x)                 what an ensemble predicts
    geometric    prod_m y_m(x)^P(m), normalised    equals weight scaling for one softmax layer
    P(m)         the product over units of p (dropped) or 1 - p (kept)

Srivastava et al. 2014, JMLR 15:1929, section 7.5; Baldi and Sadowski 2013, "Understanding dropout", NeurIPS.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.arguments import check_counts, check_kind
from thinnet.inference.enumeration.averages import Averages
from thinnet.inference.enumeration.subnetworks import Subnetworks, Use
from thinnet.inference.monte_carlo.sampling import sample

ROWS = 1 << 14  # rows of the enlarged batch of one pass
HELD = 1 << 27  # larger outputs of the sub-networks are averaged and not kept
MOST = 28  # units: 2^28 sub-networks take hours


def exact(
    model: nn.Module,
    x: Any,
    *,
    n: int = 50,
    seed: int = 0,
    kind: str | None = None,
    limit: int = 20,
    batch_size: int = ROWS,
    pick: Callable[[Any], Tensor] | None = None,
) -> Averages:
    """Returns the exact averages over all 2^n sub-networks of a model, with weight scaling and Monte-Carlo to compare.

    A sub-network keeps some of the n units and drops the others. It has the weight p for each unit that it drops and 1 - p for
    each that it keeps. A site with rate 0 or 1 adds no unit; a site that is used twice adds its units twice. All inputs meet
    the same sub-networks. The work runs on a copy: the model, its mode and all generators are unchanged.

    Args:
        model: any module whose only randomness is one Bernoulli mask per site, as in `Dropout`, `Dropout2d` and `DropPath`.
        x: the inputs: a tensor, a tuple of arguments, or a mapping of named ones; axis 0 counts them.
        n: the number of draws of the Monte-Carlo average.
        seed: the seed of these draws.
        kind: "logits" or "values"; by default the last axis of the output decides, as in `sample`.
        limit: the largest number of units; each further one doubles the work.
        batch_size: the most rows of the enlarged batch of one pass; at least one sub-network runs at a time.
        pick: takes the tensor of interest from the output of a model that returns several.

    Returns: the averages: a table as `str`, and a picture. They are of probabilities if the outputs are logits.

    Raises:
        ValueError: the model has more units than `limit`, or none; a random operation is not a Bernoulli mask, and the message
            names it; or an argument is out of range.
        TypeError: `model` is not a module.

    Source: Srivastava et al. 2014, JMLR 15:1929; Baldi and Sadowski 2013, NeurIPS.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    >>> averages = exact(model, torch.randn(5, 4))
    >>> len(averages.probabilities), averages.mean.shape
    (256, torch.Size([5, 3]))
    >>> bool(torch.allclose(averages.geometric, averages.weight_scaled))
    True
    """
    check_counts("exact", n=n, limit=limit, batch_size=batch_size)
    check_kind("exact", kind)
    networks = Subnetworks(model, x, pick)
    _check_count(networks.uses, networks.units, min(limit, MOST))
    draws = sample(_Picked(model, pick) if pick else model, x, n=n, seed=seed, kind=kind)
    whole = networks.whole()
    held = prod((1 << networks.units, *whole.shape)) <= HELD
    sums = _Sums(draws.kind == "logits", held)
    for numbers in _numbers(1 << networks.units, max(1, batch_size // networks.batch), whole.device):
        sums.add(networks.outputs(numbers), networks.probabilities(numbers))
    return sums.averages(networks, whole, draws)


def _check_count(uses: list[Use], units: int, limit: int) -> None:
    if units > limit:
        parts = ", ".join(f"{use.units} at {use.site!r}" for use in uses)
        more = f"set limit={units}" if units <= MOST else "use a smaller network"
        rule = f"exact: model must have at most {limit} droppable units; got {units}, {parts}: 2^{units} sub-networks"
        raise ValueError(f"{rule}. sample(model, x, n=200) draws some of them; to run them all, {more}.")


def _numbers(count: int, step: int, device: torch.device) -> Iterator[Tensor]:
    for first in range(0, count, step):
        yield torch.arange(first, min(first + step, count), device=device)


class _Picked(nn.Module):
    """A model that returns the tensor of interest alone."""

    def __init__(self, model: nn.Module, pick: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, *args: Any, **named: Any) -> Tensor:
        return self.pick(self.model(*args, **named))


class _Sums:
    """Weighted sums over the sub-networks, in float64: of their predictions, of the squares, and of the logarithms."""

    def __init__(self, logits: bool, held: bool) -> None:
        self.logits, self.held = logits, held
        self.first: Any = 0.0
        self.second: Any = 0.0
        self.log: Any = 0.0
        self.probabilities: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def add(self, outputs: Tensor, weights: Tensor) -> None:
        """Adds R sub-networks: their outputs `(R, B, ...)` and their probabilities `(R,)`."""
        log = outputs.double().log_softmax(-1) if self.logits else outputs.double()
        y = log.exp() if self.logits else log
        self.first = self.first + torch.tensordot(weights, y, 1)
        self.second = self.second + torch.tensordot(weights, y.square(), 1)
        self.log = self.log + torch.tensordot(weights, log, 1)
        self.probabilities.append(weights)
        if self.held:
            self.outputs.append(outputs)

    def averages(self, networks: Subnetworks, whole: Tensor, draws: Any) -> Averages:
        return Averages(
            uses=tuple(networks.uses),
            mean=self.first,
            std=(self.second - self.first.square()).clamp_min(0).sqrt(),
            geometric=self.log.softmax(-1) if self.logits else None,
            weight_scaled=whole.double().softmax(-1) if self.logits else whole.double(),
            monte_carlo=draws,
            probabilities=torch.cat(self.probabilities),
            outputs=torch.cat(self.outputs) if self.held else None,
        )
