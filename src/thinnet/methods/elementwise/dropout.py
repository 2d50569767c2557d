"""Dropout: drops each element by its own random decision."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods import noise_shapes
from thinnet.methods.call import call, draw_key, no_tensor
from thinnet.methods.elementwise.selection import at_rates
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.noise_shapes import NoiseShape
from thinnet.rng import Site, rates
from thinnet.rng.context import CPU

Rates = float | Tensor | Sequence[Any]


def definition(x: Tensor, u: Tensor, p: float, noise_shape: NoiseShape | None = None) -> Tensor:
    """Returns the kept elements (u >= p) scaled by 1 / (1 - p), the others as zeros."""
    return torch.where(u >= p, x / (1 - p) if p < 1 else x, 0)


def noise_shape_of(shape: Sequence[int], noise_shape: NoiseShape | None = None, **_: object) -> tuple[int, ...]:
    """Returns the noise shape of an input."""
    shared = () if noise_shape is None else noise_shapes.shared_by("dropout", noise_shape, shape)
    return tuple(1 if axis in shared else size for axis, size in enumerate(shape))


FACTS = Facts(
    expected_drop=lambda p, noise_shape=None: p,
    mean=lambda x, p, noise_shape=None: x * (p < 1),
    variance=lambda x, p, noise_shape=None: x * x * (p / (1 - p) if p < 1 else 0),
    definition=definition,
    noise_shape=noise_shape_of,
    used_by=(
        Use("transformers, BERT", "hidden_dropout_prob=0.1"),
        Use("transformers, GPT-2", "resid_pdrop=0.1, embd_pdrop=0.1"),
        Use("Keras", "keras.layers.Dropout(rate, noise_shape)"),
    ),
)


def dropout(
    x: Tensor,
    p: Rates = 0.5,
    *,
    noise_shape: NoiseShape | None = None,
    training: bool,
    inplace: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Dropout`.

    Args:
        x: any shape; floating point or complex.
        p: as in the class; a 0-d tensor is read at run time.
        training: whether to drop; if False, `x` itself is returned. It has no default, so that it cannot be forgotten.
        generator: source of the seed; by default torch's generator of the device.

    >>> _ = torch.manual_seed(0)
    >>> dropout(torch.ones(6), 0.5, training=True)
    tensor([2., 0., 0., 0., 2., 2.])
    >>> dropout(torch.ones(2, 3), [0.0, 0.5, 1.0], training=True)[:, ::2]
    tensor([[1., 0.],
            [1., 0.]])
    """
    if not isinstance(x, Tensor):
        return no_tensor(dropout, locals())
    if noise_shape is None and (type(p) is float or not rates.several(p)):
        return call("dropout", x, p, training, inplace, generator)  # type: ignore[arg-type]
    several = rates.several(p)
    shape = noise_shapes.checked("dropout", noise_shape)
    key = draw_key("dropout", x, 0.5 if several else p, training, generator)  # type: ignore[arg-type]
    if key is None:
        return x
    shared = () if shape is None else noise_shapes.shared_by("dropout", shape, x.shape)
    if several:
        return at_rates(replace(key, rate=rates.each("dropout", p, x.device)), x, shared, inplace)
    return key.apply_noise(x, shared, inplace=inplace)


class Dropout(Site, nn.Dropout):  # type: ignore[misc]
    """Drops each element with probability p and scales the kept ones by 1 / (1 - p). Replaces `torch.nn.Dropout`.

        y = x m / (1 - p),  m ~ Bernoulli(1 - p)

    With several rates, each element is scaled by its own 1 / (1 - p), so that the expectation is exact for each feature.

    Noise shape: one decision per element, or `noise_shape`.
    Use when: after the activation of fully connected layers, and on inputs.
    Avoid when: on the output layer; between a layer and its batch normalisation; inside the time steps of a recurrent network.
    Start with: 0.5 on hidden layers, 0.2 on real-valued inputs.
    Cost: little more than a copy of the input.
    Other implementations: torch.nn.Dropout, which stores the mask and turns dropped infinite values into NaN; Keras Dropout.

    Args:
        p: fraction of elements set to zero, on average; rounded to 1/65536. Several rates, in a sequence or a tensor, broadcast
            over the input: `(D,)` for features on the last axis, `(C, 1, 1)` for the channels of images.
        inplace: write the result into the input.
        noise_shape: the shape of the mask, as in Keras; it broadcasts over the input. Elements along an axis of size 1 share
            their decision, as time steps do with `(None, 1, None)`. None stands for the size of the input.

    Shapes: any; the output has the shape of the input. Floating point or complex.

    Raises:
        ValueError: `p` is not in [0, 1]; `p` or `noise_shape` does not broadcast over the input.
        TypeError: the input is an integer, bool, quantised or sparse tensor.

    Source: Srivastava et al. 2014, JMLR 15:1929; Hinton et al. 2012, arXiv:1207.0580.

    >>> layer = Dropout(0.5)
    >>> layer.eval()(torch.ones(3))
    tensor([1., 1., 1.])
    >>> Dropout(0.5, noise_shape=(None, 1))(torch.ones(4, 3)).std(1).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    noise_shape: tuple[int | None, ...] | None = None
    _each: Tensor | None = None  # several rates in 65536ths
    __jit_unused_properties__ = ("p", "structured")

    def __init__(self, p: Rates = 0.5, inplace: bool = False, *, noise_shape: NoiseShape | None = None) -> None:
        super().__init__(p, inplace)  # type: ignore[arg-type]
        if noise_shape is not None:
            self.noise_shape = noise_shapes.checked(type(self).__name__, noise_shape)

    @property
    def p(self) -> float | None:  # type: ignore[override]
        """The probability of dropping; None where there are several."""
        return self._p

    @p.setter
    def p(self, p: Rates) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if rates.several(p):
            self._each, self._p = rates.each(type(self).__name__, p, CPU), None
            self._fill({*self._rates})
        else:
            Site.p.fset(self, p)  # type: ignore[attr-defined]
            self._each = None

    @property
    def structured(self) -> bool:
        """Whether elements share their noise, or have several rates."""
        return self.noise_shape is not None or self._each is not None

    def drop(self, x: Tensor) -> Tensor:
        if self.noise_shape is None and self._each is None:
            return self.apply_noise(x)
        name = type(self).__name__
        shared = () if self.noise_shape is None else noise_shapes.shared_by(name, self.noise_shape, x.shape)
        if self._each is None and 0 not in shared:
            return self.apply_noise(x, shared)
        key = self.key(x, batch=None if 0 in shared else 0)
        if key is None:
            return x
        return at_rates(key, x, shared, self.inplace) if key.rate.ndim else key.apply_noise(x, shared, inplace=self.inplace)

    def plain_rate(self) -> Any:
        return self.p if self._each is None else (self._each.double() / rates.RESOLUTION).tolist()

    def _counted(self) -> int | Tensor:
        return super()._counted() if self._each is None or self._p is not None else self._each

    def extra_repr(self) -> str:
        given = self.p if self._each is None else (self._each.double() / rates.RESOLUTION).round(decimals=4).tolist()
        shape = "" if self.noise_shape is None else f", noise_shape={self.noise_shape}"
        return f"p={given}, inplace={self.inplace}{shape}"

    def __prepare_scriptable__(self) -> Site:
        if self.structured:
            raise TypeError("Dropout: torch.jit.script has no noise_shape and no several rates. Use torch.jit.trace.")
        return super().__prepare_scriptable__()

    def scripted(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training, self.inplace)  # type: ignore[arg-type]


METHODS = (Method(FACTS, Dropout, dropout, lambda x: dropout(x, 0.3, training=True)),)
