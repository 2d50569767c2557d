"""Mean and spread of a prediction in one pass by moment propagation, compared with sampling.

    (E, Var) of the input of a layer -> (E, Var) of its output: exact for dropout and linear maps, else for a Gaussian input

Wang and Manning 2013, ICML, PMLR 28(2):118; Brach, Sick, Duerr 2020, arXiv:2007.03293.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.deterministic.copying import free_copy
from thinnet.inference.deterministic.propagated import Propagated
from thinnet.inference.deterministic.traced import through
from thinnet.methods.moments.moments import Moments


def moments(
    model: nn.Module,
    x: Tensor,
    *,
    n: int | None = 200,
    seed: int = 0,
    kind: str | None = None,
    rules: Mapping[type[nn.Module], Any] | None = None,
) -> Propagated:
    """Returns mean and standard deviation of a model's output over all its masks, in one pass, with their error.

    Each layer maps the mean and the variance of its input to those of its output. That is exact for dropout and linear maps;
    activations assume a Gaussian input, and every layer assumes independent units. So the result is exact up to the first
    activation behind dropout, and an approximation from there. The table compares it with Monte-Carlo draws. A custom forward
    method must be a chain of layers and functions.

    Args:
        model: a chain of layers, activations, dropout, batch normalisation and pooling; it is unchanged.
        x: the inputs, `(B, ...)`.
        n: the number of draws to compare with; None for no comparison and no cost.
        seed: the seed of these draws.
        kind: "logits" or "values"; by default the last axis of the output decides, as in `sample`.
        rules: rules for further classes: functions of a module and the `Moments` of its input that return those of its output.

    Returns: the moments of the outputs (for logits also of probabilities), and a table as `str`.

    Raises:
        TypeError: a layer has no rule, or a forward method is no chain; the message names it.
        ValueError: an argument is out of range.

    Source: Wang and Manning 2013, ICML; Brach et al. 2020, arXiv:2007.03293.

    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))
    >>> found = moments(model, torch.randn(3, 4), n=None)
    >>> found.mean.shape, bool((found.std > 0).all())
    (torch.Size([3, 2]), True)
    """
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 2):
        raise ValueError(f"moments: n must be an integer of at least 2, or None for no comparison; got {n!r}.")
    if kind not in (None, "logits", "values"):
        raise ValueError(f'moments: kind must be "logits", "values" or None; got {kind!r}.')
    if not isinstance(x, Tensor) or not x.is_floating_point():
        got = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"moments: x must be a tensor of floating-point numbers; got {got}. Embed it first.")
    with torch.no_grad():
        mean, variance = through(free_copy("moments", model), Moments.of(x), rules)
    sampled = None
    if n is not None:
        from thinnet.inference.monte_carlo.sampling import sample

        sampled = sample(model, x, n=n, seed=seed, kind=kind)
        kind = sampled.kind
    kind = kind or ("logits" if mean.ndim > 1 and mean.shape[-1] > 1 else "values")
    return Propagated(mean, variance, kind, sampled)
