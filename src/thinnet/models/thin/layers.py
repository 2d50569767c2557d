"""Layers that can run on a part of their inputs and outputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.models.edit.equivalents import same_forward
from thinnet.ops.dtensor import is_sharded

Run = Callable[[nn.Module, Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Layer:
    """A layer of weights, as thinning sees it.

    Args:
        axis: of the units in its input and output: -1 for features, 1 for channels.
        inputs: number of input units.
        outputs: number of output units.
        transposed: whether the weight is `(inputs, outputs)` instead of `(outputs, inputs, ...)`.
        run: computes the module from an input, a weight and a bias.
        refuses: why it cannot be thinned, or "".
    """

    axis: int
    inputs: int
    outputs: int
    transposed: bool
    run: Run
    refuses: str = ""


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def layer_of(module: nn.Module) -> Layer | None:
    """Returns a module as a layer; None for a module that thinning does not know.

    >>> layer_of(nn.Linear(4, 8)).outputs, layer_of(nn.ReLU())
    (8, None)
    """
    layer, weight = _described(module), getattr(module, "weight", None)
    if layer is None or type(weight) in (nn.Parameter, Tensor):
        return layer
    sharded = isinstance(weight, Tensor) and is_sharded(weight)
    return replace(layer, refuses="has a sharded weight" if sharded else f"has a weight of class {type(weight).__name__}")


def linear(module: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Computes a linear layer."""
    return F.linear(x, weight, bias)


def _transposed(module: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x, weight.T, bias)


def _convolution(module: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return module._conv_forward(x, weight, bias)  # type: ignore[operator]


def _described(module: nn.Module) -> Layer | None:
    if same_forward(module, nn.Linear):
        return Layer(-1, module.in_features, module.out_features, False, linear)  # type: ignore[arg-type]
    if any(same_forward(module, kind) for kind in CONVOLUTIONS):
        grouped = "" if module.groups == 1 else f"has {module.groups} groups of channels"
        return Layer(1, module.in_channels, module.out_channels, False, _convolution, grouped)  # type: ignore[arg-type]
    if type(module).__name__ == "Conv1D" and hasattr(module, "nf"):  # of GPT-2 in Hugging Face
        return Layer(-1, *module.weight.shape, True, _transposed)  # type: ignore[misc]
    return None
