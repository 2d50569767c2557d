"""DropFilter: drops whole filters of a convolution."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Facts, Method
from thinnet.methods.noise_shapes import channels
from thinnet.methods.weights.affine import AFFINE, output
from thinnet.methods.weights.wrapped import Wrapped, check_layer
from thinnet.rng import NoiseKey

CONVOLUTIONS = tuple(kind for kind in AFFINE if kind is not nn.Linear)


def definition(x: Tensor, u: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns the output of the filters with u >= p scaled by 1 / (1 - p), and zeros for the others."""
    return dropout.definition(output(layer, x), u, p)


def variance(x: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns p / (1 - p) (W * x + b)^2, and 0 at p = 1."""
    return output(layer, x).square() * (p / (1 - p) if p < 1 else 0)


FACTS = Facts(
    mean=lambda x, p, layer, shared=False: output(layer, x) * (p < 1),
    variance=variance,
    definition=definition,
    noise_shape=lambda shape, layer, shared=False: (1 if shared else shape[0], layer.out_channels, *[1] * (len(shape) - 2)),
    independent=False,
    in_eval=lambda x, p, layer, shared=False: layer(x),
)


def _drop(key: NoiseKey, x: Tensor, layer: Any, shared: bool) -> Tensor:
    if x.ndim != layer.weight.ndim:
        raise ValueError(f"{key.function}: x must be (N, C, ...); got shape {tuple(x.shape)}. Add the batch axis: x[None].")
    y = layer(x)
    shared_axes = channels(y.ndim)
    return key.apply_noise(y, (0, *shared_axes) if shared else shared_axes)


def drop_filter(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    layer: nn.Module,
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropFilter`.

    Args:
        x: `(N, C, ...)`, the input of the layer.
        training: whether to drop; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> drop_filter(torch.randn(4, 3, 9), 1.0, layer=nn.Conv1d(3, 8, 3), training=True).count_nonzero()
    tensor(0)
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_filter, locals())
    check_layer("drop_filter", layer, CONVOLUTIONS)
    key = draw_key("drop_filter", x, p, training, generator)
    return layer(x) if key is None else _drop(key, x, layer, shared)


class DropFilter(Wrapped):
    """Drops whole filters of a convolution, with their biases, and scales the output of the kept ones by 1 / (1 - p).

        y[n, c] = m[n, c] (W[c] * x[n] + b[c]) / (1 - p),  m ~ Bernoulli(1 - p)

    Filters adapt to each other more than the weights in a filter do. The output equals that of `Dropout2d` behind the
    convolution, so there is nothing to change behind it, such as an activation or a normalisation.

    Noise shape: one decision per filter and sample; with shared=True per filter of a batch.
    Use when: in the wide convolutions of a network that overfits, in those before the last pooling first.
    Avoid when: layers have few filters; depthwise convolutions, where a filter is one channel of the input.
    Start with: 0.1 to 0.2, rising from 0 during training.
    Cost: little more than a copy of the output.
    Other implementations: none known; the same as torch.nn.Dropout2d behind the layer.

    Args:
        layer: a convolution or a transposed convolution, of 1, 2 or 3 dimensions.
        p: fraction of filters dropped, on average; rounded to 1/65536.
        shared: one mask for the batch instead of one for each sample.

    Shapes: those of the layer, with a batch axis.

    Raises:
        ValueError: `p` is not in [0, 1], or the input has no batch axis.
        TypeError: `layer` is of another class.

    Source: Chen, Niu, Tian 2018, arXiv:1810.09849.

    >>> layer = DropFilter(nn.Conv2d(3, 8, 3), 0.5)
    >>> layer(torch.randn(4, 3, 9, 9)).shape, list(layer.state_dict())
    (torch.Size([4, 8, 7, 7]), ['weight', 'bias'])
    """

    layers = CONVOLUTIONS

    def __init__(self, layer: nn.Module, p: float = 0.5, *, shared: bool = False) -> None:
        super().__init__(layer, p)
        self.shared = shared

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None if self.shared else 0)
        return self.layer(x) if key is None else _drop(key, x, self.layer, self.shared)

    def extra_repr(self) -> str:
        return f"p={self.p}, shared={self.shared}"


METHODS = (Method(FACTS, DropFilter, drop_filter),)
