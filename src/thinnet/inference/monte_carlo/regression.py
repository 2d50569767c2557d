"""The precision of the data in a regression, from the settings of the training."""


def precision(p: float, length_scale: float, samples: int, weight_decay: float) -> float:
    """Returns the precision of the data noise that training with dropout and weight decay implies.

        tau = (1 - p) l^2 / (2 N lambda)

    Args:
        p: the dropout rate.
        length_scale: the prior length scale l; large for a function that changes slowly.
        samples: the number N of training samples.
        weight_decay: lambda of the loss `mean squared error + lambda * sum of squared weights`. `weight_decay` of PyTorch's SGD
            is twice that: give half of it.

    Raises:
        ValueError: p is outside of 0 .. 1, or another number is not positive.

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
