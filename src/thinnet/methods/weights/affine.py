"""Layers that are linear in weight and bias, run with other weights: one set, or one per sample."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AFFINE = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def affine(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Returns the output of `layer` for `x` with this weight and bias instead of its own.

    >>> layer = nn.Linear(2, 1)
    >>> affine(layer, torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]), None)
    tensor([[11.]])
    """
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    return _convolve(layer, x, weight, bias, layer.groups)  # type: ignore[arg-type]


def output(layer: nn.Module, x: Tensor) -> Tensor:
    """Returns the output of `layer` for `x`, in the dtype of `x`."""
    weight, bias = (None if part is None else part.to(x.dtype) for part in (layer.weight, layer.bias))  # type: ignore
    return affine(layer, x, weight, bias)  # type: ignore[arg-type]


def affine_each(layer: nn.Module, x: Tensor, weights: Tensor, biases: Tensor | None) -> Tensor:
    """Returns the output of `layer` with other weights for each sample of `x`: axis 0 of `weights` and `biases` counts samples.

    A convolution of B samples with B kernels is one convolution with B times the groups.

    >>> x, weights = torch.tensor([[1.0], [1.0]]), torch.tensor([[[2.0]], [[3.0]]])
    >>> affine_each(nn.Linear(1, 1), x, weights, None).flatten()
    tensor([2., 3.])
    """
    rows = len(weights)
    if isinstance(layer, nn.Linear):
        places = x.reshape(rows, -1, x.shape[-1]) if x.numel() else x.reshape(rows, 1, x.shape[-1])
        y = torch.bmm(places, weights.transpose(1, 2))
        y = y if biases is None else y + biases[:, None].to(y.dtype)  # autocast may have changed y
        return y.reshape(*x.shape[:-1], y.shape[-1])
    flat = None if biases is None else biases.flatten()
    y = _convolve(layer, x.reshape(1, -1, *x.shape[2:]), weights.flatten(0, 1), flat, rows * layer.groups)  # type: ignore
    return y.reshape(rows, -1, *y.shape[2:])


def _convolve(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    axes, padding = weight.ndim - 2, layer.padding
    if layer.transposed:
        rest = layer.stride, padding, layer.output_padding, groups, layer.dilation
        return TRANSPOSED[axes](x, weight, bias, *rest)  # type: ignore[arg-type]
    if layer.padding_mode != "zeros":
        x, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0
    return CONV[axes](x, weight, bias, layer.stride, padding, layer.dilation, groups)  # type: ignore[arg-type]
