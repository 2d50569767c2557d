"""Gaussian noise: adds a normal number to each element."""

import math
from typing import Any

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.numbers import real, wide
from thinnet.ops import check_input, schema, units
from thinnet.ops.autograd import EagerFunction
from thinnet.rng import NoiseKey, Site


def checked(function: str, std: object) -> float:
    """Returns the standard deviation, or raises a ValueError."""
    value = real(std)
    if not 0 <= value < math.inf:
        raise ValueError(f"{function}: std must be a number from 0 up; got {std!r}. It is in the unit of the input. Try 0.1.")
    return value


def definition(x: Tensor, z: Tensor, std: float = 0.1) -> Tensor:
    """Returns x + std z."""
    return x + std * z


FACTS = Facts(
    domain="no rate: the standard deviation is `std`",
    mean=lambda x, std=0.1: x,
    variance=lambda x, std=0.1: torch.full_like(x, std**2),
    definition=definition,
    noise="normal",
    used_by=(Use("Keras", "keras.layers.GaussianNoise(stddev)"),),
)


def _add(key: NoiseKey, x: Tensor, std: float) -> Tensor:
    check_input(x, key.function)
    if x.is_complex():
        raise TypeError(f"{key.function}: x must be real; got {x.dtype}. Pass torch.view_as_real(x).")
    if key.part is None and x.dtype in units.DTYPES and units.served(x, key.address):
        return AddGaussian.apply(x, std, key.address) if schema.differentiated(x) else _added(x, std, key.address)  # type: ignore
    return (x.to(wide(x)) + key.normal(x.shape).mul_(std)).to(x.dtype)


def _added(x: Tensor, std: float, address: units.Address) -> Tensor:
    return units.add_gaussian(x, torch.tensor(std, device=x.device), address)


class AddGaussian(EagerFunction):
    """x + std z, whose gradient is that of the result."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, std: float, address: units.Address) -> Tensor:
        return _added(x, std, address)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


def gaussian_noise(x: Tensor, std: float = 0.1, *, training: bool, generator: torch.Generator | None = None) -> Tensor:
    """Functional form of `GaussianNoise`.

    Args:
        x: any shape; floating point.
        training: whether to add noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = gaussian_noise(torch.zeros(100_000), 0.5, training=True)
    >>> bool((y.std() - 0.5).abs() < 0.01)
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(gaussian_noise, locals())
    std = checked("gaussian_noise", std)
    key = draw_key("gaussian_noise", x, 1.0, training, generator)
    return x if key is None or std == 0 else _add(key, x, std)


class GaussianNoise(Site):
    """Adds an independent normal number to each element.

        y = x + std z,  z ~ N(0, 1)

    The noise does not depend on the size of an element, unlike that of GaussianDropout, which multiplies. No noise is kept for
    the backward pass: the gradient is that of the output.

    Noise shape: one number per element.
    Use when: on standardised inputs, where it acts like weight decay of the first layer; on inputs of a denoising autoencoder.
    Avoid when: features have different scales: standardise them first; or the network can shrink the noise by larger
        activations, as before a linear layer without normalisation.
    Start with: std 0.1 on standardised inputs.
    Cost: the forward pass is about three times that of dropout: each element needs 32 random bits and two polynomials. The
        backward pass is free.
    Other implementations: keras.layers.GaussianNoise; not in PyTorch.

    Args:
        std: standard deviation of the noise, in the unit of the input.

    Shapes: any; the output has the shape of the input. Floating point.

    Raises: ValueError if `std` is negative or not finite; TypeError if the input is a complex, integer, bool, quantised or
        sparse tensor.

    Source: Bishop 1995, "Training with noise is equivalent to Tikhonov regularization", Neural Computation 7:108.

    >>> GaussianNoise(0.1)(torch.randn(8, 16)).shape
    torch.Size([8, 16])
    """

    one_rate = False

    def __init__(self, std: float = 0.1) -> None:
        super().__init__()
        self.std = checked("GaussianNoise", std)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x) if self.std else None
        return x if key is None else _add(key, x, self.std)

    def extra_repr(self) -> str:
        return f"std={self.std}"


METHODS = (Method(FACTS, GaussianNoise, gaussian_noise, lambda x: gaussian_noise(x, 0.2, training=True)),)
