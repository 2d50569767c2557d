"""What is fitted on validation data: one temperature, or one precision tau, by the likelihood of what was observed."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

HOTTEST = 100.0


def log_probabilities(draws: Tensor, temperature: float = 1.0) -> Tensor:
    """Returns the logarithm of the averaged probabilities, brought to a temperature.

        p = softmax(log(1/n sum over t of softmax(z_t)) / T)

    The average comes first: then the validation NLL has one minimum, being convex in 1 / T. Logits that are divided before they
    are averaged can end as votes, T near 0, which give some labels no probability at all.

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
    """Returns the temperature under which the labels are likeliest, between 1/100 and 100.

    Args:
        draws: logits, `(n, B, C)`; a single pass has n = 1.
        y: the labels, `(B,)`.

    Where every label is guessed right, the likelihood alone asks for T = 0. So log T has a normal prior, mean 0 and variance
    1: half a nat at T = e, for all cases together. It counts only where they say next to nothing.

    Source: Guo et al. 2017, arXiv:1706.04599.

    >>> draws = 4.0 * torch.tensor([[[1.0, 0.0]] * 1000])  # sure to 98 %, and right in 8 cases of 10
    >>> round(fit_temperature(draws, torch.tensor([0] * 800 + [1] * 200)), 2)  # without the prior 4 / log 4 = 2.885
    2.88
    """

    averaged = log_probabilities(draws.double())

    def loss(scale: float) -> float:
        return torch.nn.functional.cross_entropy(averaged / math.exp(scale), y).item() + scale**2 / (2 * len(y))

    return math.exp(zoom(loss, -math.log(HOTTEST), math.log(HOTTEST)))


def density(draws: Tensor, variance: Tensor, y: Tensor) -> Tensor:
    """Returns the logarithm of the predictive density at `y`: an equal mixture of normals around the draws.

        log p(y) = log 1/n sum over t of N(y; f_t, variance),   variance = 1 / tau, or what the model says of its data

    Args:
        draws: `(n, B, D)`.
        variance: of the noise, whatever broadcasts to `(n, B, D)`.
        y: `(B, D)`.

    Returns: `(B, D)`.

    Source: Gal, Ghahramani 2016, arXiv:1506.02142.

    >>> density(torch.zeros(5, 1, 1), torch.tensor(1.0), torch.zeros(1, 1))
    tensor([[-0.9189]])
    """
    squares = (y - draws).square() / variance
    return (-squares / 2 - (2 * math.pi * variance).log() / 2).logsumexp(0) - math.log(len(draws))


def fit_variance(draws: Tensor, y: Tensor, noise: Tensor | None = None) -> float:
    """Returns the variance of the noise, 1 / tau, under which the observed values are likeliest; or the factor on a given one.

    Of a single pass it is the mean squared error.

    Args:
        draws: `(n, B, D)`; a single pass has n = 1.
        y: `(B, D)`.
        noise: the variance that the model says, `(n, B, D)`; then its factor is what is fitted.

    Source: of the factor, Levi et al. 2019, arXiv:1905.11659.

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
    """Returns where a loss is lowest: the best of 17 points, then of 17 around it, and so on down to 1e-5 of the range.

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
