"""Spatial dropout: drops whole channels of a sample."""

import warnings
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.call import call, no_tensor
from thinnet.methods.elementwise import dropout
from thinnet.methods.facts import Method, Use
from thinnet.methods.noise_shapes import channels, noise_shape_of
from thinnet.methods.pictures import tiles, untiled
from thinnet.rng import Site

FACTS = replace(
    dropout.FACTS,
    noise_shape=noise_shape_of(channels),
    used_by=(
        Use("PyTorch", "torch.nn.Dropout2d(p)"),
        Use("Keras", "keras.layers.SpatialDropout2D(rate)"),
    ),
)


def batched(x: Tensor, dims: int, training: bool) -> tuple[Tensor, bool]:
    """Returns `x` as `(N, C, ...)` and whether a batch axis was added, with the shape rules, warnings and errors of PyTorch."""
    function, axes = f"dropout{dims}d", x.ndim
    if dims == 1 and axes not in (2, 3):
        raise RuntimeError(f"{function}: Expected 2D or 3D input, but received a {axes}D input. Channels are axis -2.")
    if dims > 1 and axes not in (dims + 1, dims + 2):
        warnings.warn(
            f"{function}: Received a {axes}-D input to {function}. Give it (N, C, ...), or use dropout.", stacklevel=5
        )
    if dims == 2 and axes == 3:
        warnings.warn(
            f"{function}: Received a 3-D input to {function}, assuming that channel-wise 1D dropout behavior is desired:"
            " (N, C, L). Use dropout1d for that, or add a batch axis to (C, H, W).",
            stacklevel=5,
        )
    unbatched = dims != 2 and axes != dims + 2
    whole = x.unsqueeze(0) if unbatched else x
    if training and whole.ndim < 2:
        raise RuntimeError(f"{function}: x must have channels, (N, C, ...); got shape {tuple(x.shape)}. Use dropout.")
    return whole, unbatched


def _functional(dims, x, p, training, inplace, generator) -> Tensor:
    whole, unbatched = batched(x, dims, training)
    y = call(f"dropout{dims}d", whole, p, training, inplace, generator, shared_axes=channels(whole.ndim))
    return y.squeeze(0) if unbatched else y


def dropout1d(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Dropout1d`.

    Args:
        x: `(N, C, L)` or `(C, L)`.
        training: whether to drop; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> kept = dropout1d(torch.ones(4, 8, 5), 0.5, training=True).count_nonzero(dim=2)
    >>> bool(((kept == 0) | (kept == 5)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout1d, locals())
    return _functional(1, x, p, training, inplace, generator)


def dropout2d(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Dropout2d`. The arguments are those of `dropout1d`, with `x` of shape `(N, C, H, W)`.

    >>> kept = dropout2d(torch.ones(4, 8, 5, 5), 0.5, training=True).count_nonzero(dim=(2, 3))
    >>> bool(((kept == 0) | (kept == 25)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout2d, locals())
    return _functional(2, x, p, training, inplace, generator)


def dropout3d(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Dropout3d`. The arguments are those of `dropout1d`, with `x` of shape `([N,] C, D, H, W)`.

    >>> kept = dropout3d(torch.ones(4, 8, 5, 5, 2), 0.5, training=True).count_nonzero(dim=(2, 3, 4))
    >>> bool(((kept == 0) | (kept == 50)).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout3d, locals())
    return _functional(3, x, p, training, inplace, generator)


class _SpatialDropout(Site):
    dims: int

    def drop(self, x: Tensor) -> Tensor:
        whole, unbatched = batched(x, self.dims, self.training)
        y = self.apply_noise(whole, shared_axes=channels(whole.ndim))
        return y.squeeze(0) if unbatched else y


class Dropout1d(_SpatialDropout, nn.Dropout1d):  # type: ignore[misc]
    """Drops whole channels of each sample and scales the kept ones by 1 / (1 - p). Replaces `torch.nn.Dropout1d`.

        y[n, c, ...] = x[n, c, ...] m[n, c] / (1 - p),  m ~ Bernoulli(1 - p)

    Noise shape: one decision per channel of a sample.
    Use when: neighbouring positions of a feature map are correlated, as in early convolutional layers.
    Avoid when: batch normalisation follows directly, because its statistics differ in eval mode; or the input is `(B, T, D)`,
        where it drops time steps.
    Start with: p from 0.1 to 0.5.
    Cost: one random decision per channel, and a copy of the input.
    Other implementations: torch.nn.Dropout1d/2d/3d; Keras SpatialDropout1D/2D/3D, channels last by default.

    Args:
        p: probability that a channel is dropped, rounded to 1/65536.
        inplace: write the result into the input.

    Shapes: `(N, C, L)` or `(C, L)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1]; RuntimeError if the input has neither 2 nor 3 axes.

    Source: Tompson, Goroshin, Jain, LeCun, Bregler 2015, CVPR, arXiv:1411.4280.

    >>> Dropout1d(0.5)(torch.ones(2, 8, 5)).shape
    torch.Size([2, 8, 5])
    """

    dims = 1

    def scripted(self, x: Tensor) -> Tensor:
        return F.dropout1d(x, self.p, self.training, self.inplace)  # type: ignore[arg-type]


class Dropout2d(_SpatialDropout, nn.Dropout2d):  # type: ignore[misc]
    """`Dropout1d` for images, `(N, C, H, W)`. Replaces `torch.nn.Dropout2d`.

    Shapes: `(N, C, H, W)`, or `(N, C, L)` with a warning, as in PyTorch; the output has the shape of the input.

    >>> Dropout2d(0.5)(torch.ones(2, 8, 5, 5)).shape
    torch.Size([2, 8, 5, 5])
    """

    dims = 2

    def scripted(self, x: Tensor) -> Tensor:
        return F.dropout2d(x, self.p, self.training, self.inplace)  # type: ignore[arg-type]


class Dropout3d(_SpatialDropout, nn.Dropout3d):  # type: ignore[misc]
    """`Dropout1d` for volumes, `(N, C, D, H, W)`. Replaces `torch.nn.Dropout3d`.

    Shapes: `(N, C, D, H, W)` or `(C, D, H, W)`; the output has the shape of the input.

    >>> Dropout3d(0.5)(torch.ones(2, 8, 2, 5, 5)).shape
    torch.Size([2, 8, 2, 5, 5])
    """

    dims = 3

    def scripted(self, x: Tensor) -> Tensor:
        return F.dropout3d(x, self.p, self.training, self.inplace)  # type: ignore[arg-type]


METHODS = (
    Method(FACTS, Dropout1d, dropout1d, lambda x: dropout1d(x[None], 0.3, training=True)[0], title="Spatial dropout"),
    Method(FACTS, Dropout2d, dropout2d, lambda x: untiled(dropout2d(tiles(x), 0.3, training=True), x.shape[1])),
    Method(FACTS, Dropout3d, dropout3d),
)
