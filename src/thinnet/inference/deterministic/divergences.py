"""How far the output of a student is from the draws of its teacher, sample by sample: what distillation makes small."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from thinnet.inference.monte_carlo.prediction import Prediction

LEAST = 1e-6  # of the variance of draws, relative to the mean of it: a draw of a constant is no certainty


def apart(drawn: "Prediction", output: Any, variance: bool = False) -> Tensor:
    """Returns one number a sample: KL(teacher || student) of probabilities, or of Gaussians; or the squared error of values.

    Args:
        drawn: the draws of the teacher.
        output: of the student: logits, values, or `(mean, log variance)`.
        variance: whether it is the latter.

    Returns: `(B,)`, summed over classes, and averaged over all other axes.

    Raises: ValueError where the shapes differ, or a variance is asked for of logits.

    >>> from thinnet.inference import Prediction
    >>> drawn = Prediction(torch.tensor([[[1.0, 2.0]]]), "logits")
    >>> apart(drawn, torch.tensor([[2.0, 3.0]]))
    tensor([0.])
    """
    if variance:
        return _gaussian(drawn, output)
    _check(drawn, output)
    if drawn.kind == "logits":
        p = drawn.draws.detach().softmax(-1).mean(0)
        each = (torch.xlogy(p, p) - p * output.log_softmax(-1)).sum(-1)
        each = each.clamp_min(0) if not each.requires_grad else each
    else:
        each = (drawn.draws.detach().mean(0) - output).square()
    return each.flatten(1).mean(1) if each.ndim > 1 else each


def _gaussian(drawn: "Prediction", output: Any) -> Tensor:
    """KL(N(m, v) || N(mean, w)) = (log w / v + (v + (m - mean)^2) / w - 1) / 2, with m and v of the draws."""
    if drawn.kind != "values":
        raise ValueError("distill: kind must be 'values' for variance=True; got logits, whose average has its own spread.")
    if not isinstance(output, (tuple, list)) or len(output) != 2:
        raise ValueError(f"distill: student must return (mean, log variance); got {type(output).__name__}.")
    mean, log = output
    _check(drawn, mean)
    _check(drawn, log)
    draws = drawn.draws.detach()
    v = draws.var(0)
    v = v.clamp_min(float(v.mean()) * LEAST + torch.finfo(v.dtype).tiny)
    each = (log - v.log() + (v + (draws.mean(0) - mean).square()) * (-log).exp() - 1) / 2
    return each.flatten(1).mean(1) if each.ndim > 1 else each


def _check(drawn: "Prediction", output: Any) -> None:
    shape = tuple(drawn.draws.shape[1:])
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(f"distill: student must return what the model does, {shape}; got {got}.")
