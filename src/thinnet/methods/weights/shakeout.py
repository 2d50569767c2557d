"""Shakeout: dropped inputs leave a constant times the sign of their weights, which makes weights sparse."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real
from thinnet.methods.weights.affine import AFFINE, affine, output
from thinnet.methods.weights.wrapped import Wrapped, check_layer
from thinnet.rng import NoiseKey


def sign(weight: Tensor, smooth: float) -> Tensor:
    """Returns the sign of each weight, with the derivative of tanh(smooth w).

    >>> w = torch.tensor([2.0, 0.0], requires_grad=True)
    >>> sign(w, 1.0), torch.autograd.grad(sign(w, 1.0).sum(), w)[0][1]
    (tensor([1., 0.], grad_fn=<AddBackward0>), tensor(1.))
    """
    soft = torch.tanh(smooth * weight)
    return weight.detach().sign() + (soft - soft.detach())


def definition(x: Tensor, u: Tensor, p: float, layer: Any, c: float = 0.1, smooth: float = 1.0) -> Tensor:
    """Returns the output for weights (w + c p s) / (1 - p) where an input is kept (u >= p), and -c s where it is dropped."""
    weight, bias = layer.weight.to(x.dtype), None if layer.bias is None else layer.bias.to(x.dtype)
    s = sign(weight, smooth)
    kept = torch.where(u >= p, x, 0)
    return affine(layer, kept, (weight + c * p * s) / (1 - p), bias) + affine(layer, x - kept, -c * s, None)


def mean(x: Tensor, p: float, layer: Any, **_: object) -> Tensor:
    """Returns the output of the layer."""
    return output(layer, x)


def variance(x: Tensor, p: float, layer: Any, c: float = 0.1, **_: object) -> Tensor:
    """Returns p / (1 - p) (V o V)(x o x) with V = W + c sgn(W)."""
    weight = layer.weight.to(x.dtype)
    return affine(layer, x.square(), (weight + c * weight.sign()).square() * (p / (1 - p)), None)


FACTS = Facts(
    domain="[0, 1)",
    mean=mean,
    variance=variance,
    definition=definition,
    independent=False,
    in_eval=lambda x, p, layer, **_: layer(x),
)


def _drop(key: NoiseKey, x: Tensor, layer: Any, c: float, smooth: float) -> Tensor:
    kept = key.apply_noise(x)
    y = affine(layer, kept, layer.weight, layer.bias)
    return y if c == 0 else y + affine(layer, c * (kept - x), sign(layer.weight, smooth), None)


def _check(function: str, c: float, smooth: float) -> None:
    for name, value in (("c", c), ("smooth", smooth)):
        if not 0 <= real(value) < float("inf"):
            raise ValueError(f"{function}: {name} must be a number >= 0; got {value!r}. Start with c=0.1, smooth=1.0.")


def shakeout(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    layer: nn.Module,
    c: float = 0.1,
    smooth: float = 1.0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Shakeout`.

    Args:
        x: the input of the layer.
        training: whether to apply noise; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> shakeout(torch.randn(4, 3), 0.5, layer=nn.Linear(3, 2), training=True).shape
    torch.Size([4, 2])
    """
    if not isinstance(x, Tensor):
        return no_tensor(shakeout, locals())
    check_layer("shakeout", layer, AFFINE)
    _check("shakeout", c, smooth)
    key = draw_key("shakeout", x, p, training, generator, below_one=True)
    return layer(x) if key is None else _drop(key, x, layer, c, smooth)


class Shakeout(Wrapped):
    """Drops inputs of a layer, and gives a dropped input the weight -c sgn(w) instead of zero.

        y = V x + b,  V_ij = -c s_ij if input j is dropped, (w_ij + c p s_ij) / (1 - p) otherwise,  s = sgn(W)

    The mean of V is W. Dropout regularises like an L2 penalty; the sign adds L0 and L1 terms, so that weights become sparse.
    c = 0 is dropout of the input. The bias has no noise.

    Noise shape: one decision per element of the layer's input.
    Use when: instead of dropout before a fully connected or convolutional layer, if small weights should vanish, as before
        pruning.
    Avoid when: weights are normalised or tied to an embedding; inputs are mostly zero, where the sign acts on few of them.
    Start with: p = 0.5, c = 0.1; a larger c for more sparsity.
    Cost: dropout of the input and a second product of the layer.
    Other implementations: the authors' Caffe layer.

    Args:
        layer: Linear, a convolution, or a transposed convolution.
        p: fraction of inputs dropped, on average; rounded to 1/65536. The paper writes tau.
        c: the size of the constant.
        smooth: in backward the sign has the derivative of tanh(smooth w), as in the authors' code; 0 for none.

    Shapes: those of the layer.

    Raises:
        ValueError: `p` is not in [0, 1), or `c` or `smooth` is negative or not finite.
        TypeError: `layer` is of another class.

    Source: Kang, Li, Tao 2018, IEEE TPAMI 40:1245, arXiv:1904.06593; Kang, Li, Tao 2016, AAAI.

    >>> layer = Shakeout(nn.Linear(3, 2), 0.5, c=0.2)
    >>> layer(torch.randn(4, 3)).shape, list(layer.state_dict())
    (torch.Size([4, 2]), ['weight', 'bias'])
    """

    layers = AFFINE
    below_one = True

    def __init__(self, layer: nn.Module, p: float = 0.5, *, c: float = 0.1, smooth: float = 1.0) -> None:
        super().__init__(layer, p)
        _check("Shakeout", c, smooth)
        self.c, self.smooth = c, smooth

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return self.layer(x) if key is None else _drop(key, x, self.layer, self.c, self.smooth)

    def extra_repr(self) -> str:
        return f"p={self.p}, c={self.c}, smooth={self.smooth}"


METHODS = (Method(FACTS, Shakeout, shakeout),)
