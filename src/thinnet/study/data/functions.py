"""Made regressions whose true function is known: few noisy training samples, and many test samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.data.tasks import Regression

VALIDATION_ROWS, TEST_ROWS = 400, 2000


@dataclass(frozen=True)
class Function:
    """A function of inputs in [-1, 1], and the noise of its samples.

    Args:
        formula: as people write it.
        value: (N, inputs) to (N,).
        inputs: the number of inputs.
        noise: the standard deviation of the Gaussian noise of every sample, in all three sets.
        samples: the number of training samples.
    """

    formula: str
    value: Callable[[np.ndarray], np.ndarray]
    inputs: int
    noise: float
    samples: int


def two_inputs(x: np.ndarray) -> np.ndarray:
    """Returns sin(pi x1) + x2^2."""
    return np.sin(np.pi * x[:, 0]) + x[:, 1] ** 2


def one_input(x: np.ndarray) -> np.ndarray:
    """Returns sin(1.5 pi x) + x / 2."""
    return np.sin(1.5 * np.pi * x[:, 0]) + x[:, 0] / 2


FUNCTIONS = {
    "toy": Function("sin(π x₁) + x₂²", two_inputs, inputs=2, noise=1.0, samples=60),
    "regression": Function("sin(1.5 π x) + x / 2", one_input, inputs=1, noise=0.5, samples=30),
}


def sampled(name: str, seed: int) -> Dataset:
    """Draws the three sets of a made regression.

    Example:
        >>> data = sampled("toy", seed=0)
        >>> data.train.x.shape, len(data.validation), len(data.test)
        ((60, 2), 400, 2000)
    """
    function = FUNCTIONS[name]
    generator = np.random.default_rng(seed)
    sizes = (function.samples, VALIDATION_ROWS, TEST_ROWS)
    inputs = [generator.uniform(-1, 1, (size, function.inputs)) for size in sizes]
    targets = [function.value(x) + function.noise * generator.normal(size=len(x)) for x in inputs]
    task = Regression(float(targets[0].mean()), float(targets[0].std()))
    x, y = np.concatenate(inputs), (np.concatenate(targets) - task.mean) / task.scale
    every = Split(x.astype(np.float32), y.astype(np.float32), np.arange(len(y)))
    development, test = (every.rows(part) for part in (slice(-TEST_ROWS), slice(-TEST_ROWS, None)))
    note = f"Made samples of {function.formula} with noise: the true function has an RMSE of {function.noise:g}."
    split = f"drawn from seed {seed}, the same for each seed of a trial"
    return Dataset(name, "y", task, development, VALIDATION_ROWS, test, None, split, notes=(note,))
