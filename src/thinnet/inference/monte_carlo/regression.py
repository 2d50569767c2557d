"""The noise of the data in a regression, from the rate, the prior length scale and the weight decay of the training."""


def precision(p: float, length_scale: float, samples: int, weight_decay: float) -> float:
    """Returns the precision of the data that a network trained with dropout and weight decay assumes.

        tau = (1 - p) l^2 / (2 N lambda)

    Args:
        p: the rate of dropping.
        length_scale: the prior length scale l: large where the function changes slowly.
        samples: how many samples N it was trained on.
        weight_decay: lambda of a loss `mean squared error + lambda * sum of squared weights`. PyTorch's `weight_decay` of SGD
            stands for twice that: give half of it.

    Raises:
        ValueError: p outside of 0 .. 1, or another number that is not positive.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142, and the authors' code.

    >>> round(precision(p=0.05, length_scale=0.01, samples=400, weight_decay=1e-7), 4)
    1.1875
    """
    if not 0 <= p < 1:
        raise ValueError(f"precision: p must be in [0, 1); got {p}. It is the probability of dropping.")
    numbers = {"length_scale": length_scale, "samples": samples, "weight_decay": weight_decay}
    for name, value in numbers.items():
        if not 0 < value < float("inf"):
            raise ValueError(f"precision: {name} must be positive; got {value}.")
    return (1 - p) * length_scale**2 / (2 * samples * weight_decay)
