"""What dropout does to a made regression, measured on the networks of a study: fits, spread, sub-networks and reasons."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from thinnet.inference import exact, sample
from thinnet.rng import DropoutRNG
from thinnet.study.data.dataset import Dataset
from thinnet.study.data.functions import FUNCTIONS, Function
from thinnet.study.data.tasks import Regression
from thinnet.study.design.configuration import BASELINE, Line, TrialKey
from thinnet.study.design.plan import Plan
from thinnet.study.findings.diagnostics import Reason, reasons
from thinnet.study.findings.results import Results
from thinnet.study.training.network import seeded_network
from thinnet.study.training.scores import trained
from thinnet.study.training.trial import Trial, one_thread, seeds_of, train
from thinnet.study.workers.store import Store

POINTS = {1: 201, 2: 31}
"""Points of the grid along each axis, by the number of inputs."""

DRAWS = 200
SMALL, LONGER = (8, 6), 4
"""The hidden layers of the network whose 2^14 sub-networks are all averaged; it trains for so many times more epochs."""

SHOWN, SOME = 2, 24
"""How many sub-networks of a step, and of the small network, are drawn."""


@dataclass(frozen=True)
class Subnetwork:
    """The units that one sample keeps in one step, by hidden layer; True is kept."""

    sample: int
    kept: list[np.ndarray]


@dataclass(frozen=True)
class Ensemble:
    """A small network, on the grid: every average is (G,), the outputs of some of its sub-networks are (k, G)."""

    units: int
    mean: np.ndarray
    scaled: np.ndarray
    some: np.ndarray

    @property
    def distance(self) -> float:
        """The mean distance of one pass with all units on from the mean of all sub-networks."""
        return float(np.abs(self.mean - self.scaled).mean())

    @property
    def spread(self) -> float:
        """The mean distance of a sub-network from the mean of all."""
        return float(np.abs(self.some - self.mean).mean())


@dataclass(frozen=True)
class Lesson:
    """What the report of a made regression shows. All predictions are in the unit of the target.

    Args:
        function: the true function.
        axis: the values of an input on the grid; the grid of two inputs has all pairs.
        truth: the true function on the grid, (G,).
        rate: the rate above 0 that is compared with 0.
        fits: the prediction on the grid of one network for each rate, after its last epoch.
        spread: the standard deviation of the sub-networks of the compared rate, (G,).
        average: their mean, (G,).
        subnetworks: the masks of the first samples of the first step.
        ensemble: all sub-networks of a small network.
        reasons: the measures behind the three reasons why dropout works.
    """

    function: Function
    axis: np.ndarray
    truth: np.ndarray
    rate: float
    fits: dict[float, np.ndarray]
    spread: np.ndarray
    average: np.ndarray
    subnetworks: list[Subnetwork]
    ensemble: Ensemble
    reasons: list[Reason]

    def distance(self, rate: float) -> float:
        """Returns the root mean squared distance of the prediction at a rate from the true function."""
        return float(np.sqrt(np.square(self.fits[rate] - self.truth).mean()))


def lesson(data: Dataset, plan: Plan, store: Store, results: Results) -> Lesson | None:
    """Returns what the report shows; None for data whose true function is not known, and where no rate above 0 was trained."""
    function, rate = FUNCTIONS.get(data.name), results.compared.rate
    if function is None or rate == 0:
        return None
    axis = np.linspace(-1, 1, POINTS[function.inputs])
    points = np.stack(np.meshgrid(*[axis] * function.inputs, indexing="ij"), -1).reshape(-1, function.inputs)
    grid = torch.from_numpy(points.astype(np.float32))
    rates = sorted({each.rate for each in results.rates})
    pair = [_trials(plan, store, each, results.seeds) for each in (0.0, rate)]
    with one_thread():
        networks = {each: next(trained(data, plan, store.folder, _trials(plan, store, each, 1), "last")) for each in rates}
        drawn = sample(networks[rate], grid, n=DRAWS, seed=plan.seed, kind="values", progress=False).draws.squeeze(-1)
        return Lesson(
            function=function,
            axis=axis,
            truth=function.value(points),
            rate=rate,
            fits={each: _in_units(data, _predicted(network, grid)) for each, network in networks.items()},
            spread=(drawn.std(0) * regression(data).scale).numpy(),
            average=_in_units(data, drawn.mean(0)),
            subnetworks=_subnetworks(networks[rate], data, plan),
            ensemble=_ensemble(data, plan, rate, grid),
            reasons=reasons(data, plan, store.folder, pair, "last"),
        )


def _trials(plan: Plan, store: Store, rate: float, seeds: int) -> list[Trial]:
    """Returns the trials of the first seeds at a rate."""
    trials = store.finished()
    configuration = plan.lines[0].at(rate) if rate else BASELINE
    return [trials[TrialKey(configuration, seed)] for seed in range(seeds)]


def _predicted(network: nn.Module, grid: Tensor) -> Tensor:
    network.eval()
    with torch.no_grad():
        return network(grid).squeeze(1)


def _in_units(data: Dataset, output: Tensor) -> np.ndarray:
    """Converts standardised predictions to the unit of the target."""
    task = regression(data)
    return (output.double() * task.scale + task.mean).numpy()


def regression(data: Dataset) -> Regression:
    """Returns the task of a made regression, which knows mean and scale of the target."""
    assert isinstance(data.task, Regression)
    return data.task


def _subnetworks(network: nn.Module, data: Dataset, plan: Plan) -> list[Subnetwork]:
    """Returns the masks of the first samples at the first step of seed 0."""
    rng = DropoutRNG(seeds_of(plan, 0).dropout).bind(network)
    ids = data.train.ids[:SHOWN].tolist()
    masks = [rng.mask(site, step=0, samples=ids, shape=(width,)) for site, width in zip(rng.sites, plan.hidden, strict=True)]
    rng.unbind()
    return [Subnetwork(number, [mask[row].numpy() for mask in masks]) for row, number in enumerate(ids)]


def _ensemble(data: Dataset, plan: Plan, rate: float, grid: Tensor) -> Ensemble:
    """Trains a small network at the compared rate, and averages all its sub-networks."""
    small = replace(plan, hidden=SMALL, epochs=LONGER * plan.epochs)
    key = TrialKey(Line().at(rate), 0)
    network = seeded_network(data, small, key.configuration, seed=0)
    network.load_state_dict(train(data, small, key)[1]["last"])
    found = exact(network, grid, kind="values", n=1, limit=sum(SMALL))
    assert found.outputs is not None
    drawn = np.random.default_rng(plan.seed).choice(len(found.probabilities), SOME, p=found.probabilities.numpy())
    some = found.outputs[torch.from_numpy(drawn)].squeeze(-1)
    mean, scaled = (_in_units(data, each.squeeze(-1)) for each in (found.mean, found.weight_scaled))
    return Ensemble(found.units, mean, scaled, _in_units(data, some))
