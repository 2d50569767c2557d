"""The loss of distillation: the divergence of the output of a student from the draws of its teacher, per sample."""

from typing import Any

import torch
from torch import Tensor

from thinnet.inference.monte_carlo.prediction import Prediction

FLOOR = 1e-6  # of the variance of draws, relative to its mean, so that equal draws do not give an infinite divergence


def divergence(draws: Prediction, output: Any, variance: bool = False) -> Tensor:
    """Returns KL(teacher || student) of probabilities or of Gaussians, or the squared error of values, per sample.

    Args:
        draws: the draws of the teacher.
        output: the output of the student: logits, values, or `(mean, log variance)`.
        variance: whether `output` is `(mean, log variance)`.

    Returns: `(B,)`, summed over classes and averaged over all other axes.

    Raises: ValueError if the shapes differ, or if `variance` is set for logits.

    >>> from thinnet.inference import Prediction
    >>> draws = Prediction(torch.tensor([[[1.0, 2.0]]]), "logits")
    >>> divergence(draws, torch.tensor([[2.0, 3.0]]))
    tensor([0.])
    """
    if variance:
        return _gaussian(draws, output)
    _check(draws, output)
    if draws.kind == "logits":
        p = draws.draws.detach().softmax(-1).mean(0)
        each = (torch.xlogy(p, p) - p * output.log_softmax(-1)).sum(-1)
        each = each.clamp_min(0) if not each.requires_grad else each
    else:
        each = (draws.draws.detach().mean(0) - output).square()
    return each.flatten(1).mean(1) if each.ndim > 1 else each


def _gaussian(draws: Prediction, output: Any) -> Tensor:
    """KL(N(m, v) || N(mean, w)) = (log w / v + (v + (m - mean)^2) / w - 1) / 2, with m and v of the draws."""
    if draws.kind != "values":
        raise ValueError("distill: kind must be 'values' for variance=True; got logits, whose average has its own spread.")
    if not isinstance(output, (tuple, list)) or len(output) != 2:
        raise ValueError(f"distill: student must return (mean, log variance); got {type(output).__name__}.")
    mean, log = output
    _check(draws, mean)
    _check(draws, log)
    values = draws.draws.detach()
    v = values.var(0, correction=0)  # the spread of the mean of n draws adds what this lacks: the best w is the same for all n
    v = v.clamp_min(float(v.mean()) * FLOOR + torch.finfo(v.dtype).tiny)
    each = (log - v.log() + (v + (values.mean(0) - mean).square()) * (-log).exp() - 1) / 2
    return each.flatten(1).mean(1) if each.ndim > 1 else each


def _check(draws: Prediction, output: Any) -> None:
    shape = tuple(draws.draws.shape[1:])
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"distill: student must return what the model does, {shape}; got {got}.")
