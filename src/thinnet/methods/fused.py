"""Dropout fused with adjacent operations: functions of one pass over the memory, with the masks of `dropout`."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.ops import check_input, fused
from thinnet.ops.fused import Activation
from thinnet.ops.reference import Where


def dropout_add(
    x: Tensor, residual: Tensor, p: float | Tensor = 0.5, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Adds dropout of `x` to a residual, in one pass.

        y = residual + dropout(x)

    Args:
        x: any shape.
        residual: the shape of `x`.
        p: the rate, as in `Dropout`.
        training: whether to drop.
        generator: source of the seed; by default torch's generator of the device.

    Raises:
        ValueError: `p` is not in [0, 1].
        TypeError: `x` is no floating-point tensor.

    >>> dropout_add(torch.ones(3), torch.ones(3), 1.0, training=True)
    tensor([1., 1., 1.])
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout_add, locals())
    return fused.fused(x, _where(dropout_add, x, p, training, generator), residual=residual)


def bias_dropout_add(
    x: Tensor,
    bias: Tensor,
    residual: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Adds a bias, drops, and adds a residual, in one pass.

        y = residual + dropout(x + bias)

    Args:
        x: any shape.
        bias: the shape of the last axes of `x`.
        residual: the shape of `x`.
        p, training, generator: as in `dropout_add`.

    Raises: as `dropout_add`.

    >>> bias_dropout_add(torch.ones(2, 2), torch.tensor([1.0, 2.0]), torch.zeros(2, 2), 0.0, training=True)
    tensor([[2., 3.],
            [2., 3.]])
    """
    if not isinstance(x, Tensor):
        return no_tensor(bias_dropout_add, locals())
    return fused.fused(x, _where(bias_dropout_add, x, p, training, generator), bias=bias, residual=residual)


def relu_dropout(x: Tensor, p: float | Tensor = 0.5, *, training: bool, generator: torch.Generator | None = None) -> Tensor:
    """Computes ReLU and dropout in one pass. Backward reads the result alone, which the next layer keeps anyway.

        y = dropout(relu(x))

    Args:
        x: any shape.
        p, training, generator: as in `dropout_add`.

    Raises: as `dropout_add`.

    >>> relu_dropout(torch.tensor([-1.0, 2.0]), 0.0, training=True)
    tensor([0., 2.])
    """
    if not isinstance(x, Tensor):
        return no_tensor(relu_dropout, locals())
    return fused.fused(x, _where(relu_dropout, x, p, training, generator), activation=Activation.RELU)


def gelu_dropout(
    x: Tensor, p: float | Tensor = 0.5, *, approximate: str = "none", training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Computes GELU and dropout in one pass. Backward reads `x` and computes the activation again.

        y = dropout(gelu(x))

    Args:
        x: any shape.
        approximate: "none", or "tanh" for its approximation, as in `torch.nn.functional.gelu`.
        p, training, generator: as in `dropout_add`.

    Raises:
        ValueError: `approximate` is neither; or as `dropout_add`.

    >>> gelu_dropout(torch.tensor([-1.0, 2.0]), 0.0, training=True)
    tensor([-0.1587,  1.9545])
    """
    if not isinstance(x, Tensor):
        return no_tensor(gelu_dropout, locals())
    if approximate not in GELUS:
        raise ValueError(f"gelu_dropout: approximate must be 'none' or 'tanh'; got {approximate!r}. Try 'none'.")
    return fused.fused(x, _where(gelu_dropout, x, p, training, generator), activation=GELUS[approximate])


GELUS = {"none": Activation.GELU, "tanh": Activation.GELU_TANH}


def swiglu_dropout(
    x: Tensor, gate: Tensor, p: float | Tensor = 0.5, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Computes SwiGLU and dropout in one pass.

        y = dropout(silu(x) gate)

    Args:
        x: any shape.
        gate: the shape of `x`.
        p, training, generator: as in `dropout_add`.

    Raises: as `dropout_add`.

    Source: Shazeer 2020, arXiv:2002.05202.

    >>> swiglu_dropout(torch.tensor([1.0]), torch.tensor([2.0]), 0.0, training=True)
    tensor([1.4621])
    """
    if not isinstance(x, Tensor):
        return no_tensor(swiglu_dropout, locals())
    return fused.fused(x, _where(swiglu_dropout, x, p, training, generator), gate=gate, activation=Activation.SILU)


def embedding_add_dropout(
    ids: Tensor,
    weight: Tensor,
    position: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Looks up embeddings, adds those of the positions, and drops, in one pass.

        y = dropout(weight[ids] + position)

    Args:
        ids: int64, any shape.
        weight: `(rows, D)`.
        position: `(D,)`, or one row for each index of the last axes of `ids`, as `(T, D)`.
        p, training, generator: as in `dropout_add`.

    Raises: as `dropout_add`.

    >>> embedding_add_dropout(torch.tensor([1, 0]), torch.eye(2), torch.ones(2, 2), 0.0, training=True)
    tensor([[1., 2.],
            [2., 1.]])
    """
    if not isinstance(ids, Tensor):
        return no_tensor(embedding_add_dropout, locals())
    return fused.fused(weight, _where(embedding_add_dropout, weight, p, training, generator), ids=ids, bias=position)


def dropout_add_layer_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    p: float | Tensor = 0.5,
    *,
    eps: float = 1e-5,
    prenorm: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Any:
    """Adds dropout of `x` to a residual and normalises the sum over its last axis, in one pass.

        h = residual + dropout(x),  y = (h - mean(h)) / sqrt(var(h) + eps) weight + bias

    Backward keeps the sum `h`, and neither the mask nor the normalised numbers.

    Args:
        x, residual: any shape with an axis, `(..., D)`.
        weight, bias: `(D,)`; None for ones and zeros.
        eps: added to the variance.
        prenorm: whether to return `h` too: the next block adds to it.
        p, training, generator: as in `dropout_add`.

    Returns: `y`; with `prenorm`, `(y, h)`.

    Raises: as `dropout_add`.

    >>> dropout_add_layer_norm(torch.zeros(2), torch.tensor([1.0, 3.0]), training=True)
    tensor([-1.0000,  1.0000])
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout_add_layer_norm, locals())
    where = _where(dropout_add_layer_norm, x, p, training, generator)
    y, h = fused.fused_norm(x, residual, where, weight=weight, bias=bias, eps=eps)
    return (y, h) if prenorm else y


def dropout_add_rms_norm(
    x: Tensor,
    residual: Tensor,
    weight: Tensor | None = None,
    p: float | Tensor = 0.5,
    *,
    eps: float | None = None,
    prenorm: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Any:
    """Adds dropout of `x` to a residual and divides the sum by its root mean square, in one pass.

        h = residual + dropout(x),  y = h / sqrt(mean(h^2) + eps) weight

    Args:
        x, residual: any shape with an axis, `(..., D)`.
        weight: `(D,)`; None for ones.
        eps: added to the mean square; by default that of `torch.nn.RMSNorm`.
        prenorm: whether to return `h` too.
        p, training, generator: as in `dropout_add`.

    Returns: `y`; with `prenorm`, `(y, h)`.

    Raises: as `dropout_add`.

    >>> dropout_add_rms_norm(torch.zeros(2), torch.tensor([1.0, 7.0]), training=True)
    tensor([0.2000, 1.4000])
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout_add_rms_norm, locals())
    where = _where(dropout_add_rms_norm, x, p, training, generator)
    y, h = fused.fused_norm(x, residual, where, weight=weight, eps=fused.epsilon(x, eps), rms=True)
    return (y, h) if prenorm else y


def _where(
    function: Callable[..., Any], x: Tensor, p: float | Tensor, training: bool, generator: torch.Generator | None
) -> Where | None:
    """Returns what says which numbers are dropped; None where none is."""
    key = draw_key(function.__name__, check_input(x, function.__name__), p, training, generator)
    return None if key is None else (key.rate, *key.address)


FUSED = (
    dropout_add,
    bias_dropout_add,
    relu_dropout,
    gelu_dropout,
    swiglu_dropout,
    embedding_add_dropout,
    dropout_add_layer_norm,
    dropout_add_rms_norm,
)
