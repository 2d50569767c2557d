"""Fits on validation data: one temperature, or one precision tau, by maximum likelihood."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

HOTTEST = 100.0


def log_probabilities(draws: Tensor, temperature: float = 1.0) -> Tensor:
    """Returns the log of the averaged probabilities at a temperature.

        p = softmax(log(1/n sum over t of softmax(z_t)) / T)

    The temperature comes after the average, so the validation NLL is convex in 1 / T and has one minimum. A temperature inside
    the average can end near 0, where each draw is a vote and some labels have no probability at all.

    Args:
        draws: logits, `(n, B, C)`.
        temperature: T.

    Returns: `(B, C)`.

    Source: Rahaman, Thiery 2020, arXiv:2007.08792.

    >>> log_probabilities(torch.zeros(3, 1, 2)).exp()
    tensor([[0.5000, 0.5000]])
    """
    return (draws.log_softmax(-1).logsumexp(0) / temperature).log_softmax(-1)


def fit_temperature(draws: Tensor, y: Tensor) -> float:
    """Returns the maximum-likelihood temperature of the labels, between 1/100 and 100.

    If every prediction is right, the likelihood alone asks for T = 0. So log T has a normal prior with mean 0 and variance 1:
    half a nat at T = e, for all cases together. It matters only for data that hardly constrains T.

    Args:
        draws: logits, `(n, B, C)`; a single pass has n = 1.
        y: the labels, `(B,)`.

    Source: Guo et al. 2017, arXiv:1706.04599.

    >>> draws = 4.0 * torch.tensor([[[1.0, 0.0]] * 1000])  # confidence 98 %, accuracy 80 %
    >>> round(fit_temperature(draws, torch.tensor([0] * 800 + [1] * 200)), 2)  # without the prior 4 / log 4 = 2.885
    2.88
    """

    averaged = log_probabilities(draws.double())

    def loss(scale: float) -> float:
        return torch.nn.functional.cross_entropy(averaged / math.exp(scale), y).item() + scale**2 / (2 * len(y))

    return math.exp(zoom(loss, -math.log(HOTTEST), math.log(HOTTEST)))


def density(draws: Tensor, variance: Tensor, y: Tensor) -> Tensor:
    """Returns the log of the predictive density at `y`: an equal mixture of normals around the draws.

        log p(y) = log 1/n sum over t of N(y; f_t, variance),   variance = 1 / tau, or as the model predicts it

    Args:
        draws: `(n, B, D)`.
        variance: the variance of the noise; it broadcasts to `(n, B, D)`.
        y: `(B, D)`.

    Returns: `(B, D)`.

    Source: Gal, Ghahramani 2016, arXiv:1506.02142.

    >>> density(torch.zeros(5, 1, 1), torch.tensor(1.0), torch.zeros(1, 1))
    tensor([[-0.9189]])
    """
    squares = (y - draws).square() / variance
    return (-squares / 2 - (2 * math.pi * variance).log() / 2).logsumexp(0) - math.log(len(draws))


def fit_variance(draws: Tensor, y: Tensor, noise: Tensor | None = None) -> float:
    """Returns the maximum-likelihood variance of the noise, 1 / tau, or the factor on a predicted variance.

    For a single pass it is the mean squared error.

    Args:
        draws: `(n, B, D)`; a single pass has n = 1.
        y: `(B, D)`.
        noise: the variance that the model predicts, `(n, B, D)`; then a factor on it is fitted.

    Source: Levi et al. 2019, arXiv:1905.11659 (the factor).

    >>> round(fit_variance(torch.zeros(1, 4, 1), torch.tensor([[1.0], [-1.0], [3.0], [-3.0]])), 2)
    5.0
    """
    draws, y = draws.double(), y.double()
    given = torch.ones((), dtype=draws.dtype) if noise is None else noise.double()
    top = ((y - draws).square() / given).mean().clamp_min(torch.finfo(draws.dtype).tiny).log().item() + 1.0

    def loss(scale: float) -> float:
        return -density(draws, math.exp(scale) * given, y).mean().item()

    return math.exp(zoom(loss, top - math.log(1e6), top))


def zoom(loss: Callable[[float], float], low: float, high: float) -> float:
    """Returns the argument of the lowest loss: the best of 17 points, then of 17 around it, down to 1e-5 of the range.

    >>> round(zoom(lambda value: (value - 0.3) ** 2, -1.0, 1.0), 3)
    0.3
    """
    width = high - low
    start, end = low, high
    while high - low > 1e-5 * width:
        points = [low + (high - low) * step / 16 for step in range(17)]
        best = min(points, key=loss)
        reach = (high - low) / 16
        low, high = max(start, best - reach), min(end, best + reach)
    return (low + high) / 2
