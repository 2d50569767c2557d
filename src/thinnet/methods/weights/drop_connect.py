"""DropConnect: drops each weight of a layer, for each sample anew."""

from dataclasses import replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from thinnet.methods import call
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.moments import moments
from thinnet.methods.moments.moments import Moments
from thinnet.methods.weights.affine import AFFINE, affine, affine_each
from thinnet.methods.weights.wrapped import Wrapped, check_layer
from thinnet.ops.schema import transformed
from thinnet.rng import NoiseKey, rates

CHUNK = 1 << 22  # weights at a time: 16 MiB in float32


def definition(x: Tensor, u: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns the layer's output, sample by sample, with the weights and biases kept where u >= p; u is (N or 1, weights)."""
    rows = []
    for i in range(len(x)):
        kept = torch.where(u[0 if shared else i] >= p, _flat(layer).to(x.dtype) / (1 - p), 0)
        rows.append(affine(layer, x[i : i + 1], *_parts(layer, kept)))
    return torch.cat(rows)


def mean(x: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns W x + b, and 0 at p = 1."""
    return affine(layer, x, *_parts(layer, _flat(layer).to(x.dtype))) * (p < 1)


def variance(x: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns p / (1 - p) ((W o W)(x o x) + b o b), and 0 at p = 1."""
    squares = affine(layer, x.square(), *_parts(layer, _flat(layer).to(x.dtype).square()))
    return squares * (p / (1 - p) if p < 1 else 0)


def in_eval(x: Tensor, p: float, layer: Any, shared: bool = False) -> Tensor:
    """Returns the layer's output with all its weights."""
    return layer(x)


FACTS = Facts(
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=lambda shape, layer, shared=False: (1 if shared else shape[0], len(_flat(layer))),
    independent=False,
    in_eval=in_eval,
)


def drop_connect(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    layer: nn.Module,
    shared: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `DropConnect`.

    Args:
        x: the input of the layer; axis 0 counts samples.
        training: whether to drop; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> layer = nn.Linear(3, 2)
    >>> drop_connect(torch.ones(4, 3), 1.0, layer=layer, training=True).count_nonzero()
    tensor(0)
    """
    if not isinstance(x, Tensor):
        return no_tensor(drop_connect, locals())
    check_layer("drop_connect", layer, AFFINE)
    key = call.draw_key("drop_connect", x, p, training, generator)
    return layer(x) if key is None else _drop(key, x, layer, shared)


def _flat(layer: Any) -> Tensor:
    """Returns all units, the weights and then the biases, as one vector."""
    return layer.weight.flatten() if layer.bias is None else torch.cat([layer.weight.flatten(), layer.bias])


def _parts(layer: Any, flat: Tensor) -> tuple[Tensor, Tensor | None]:
    """Returns weight and bias from a tensor of units, `(..., units)`."""
    weight, count = layer.weight, layer.weight.numel()
    shaped = flat[..., :count].unflatten(-1, weight.shape)
    return shaped, None if layer.bias is None else flat[..., count:]


def _drop(key: NoiseKey, x: Tensor, layer: Any, shared: bool) -> Tensor:
    flat = _flat(layer)
    if shared:
        return affine(layer, x, *_parts(layer, key.apply_noise(flat)))
    if x.ndim < (2 if isinstance(layer, nn.Linear) else layer.weight.ndim):
        raise ValueError(f"{key.function}: x must count samples in axis 0; got shape {tuple(x.shape)}. Add that axis.")
    if not len(x):  # a convolution has no groups then
        return layer(x)
    samples = key.samples
    ids = torch.arange(len(x), device=x.device)
    if samples is not None:  # one a row, or the first
        ids = samples + (ids if len(samples) == 1 else 0)

    def some(x: Tensor, ids: Tensor, flat: Tensor) -> Tensor:
        part = replace(key, samples=ids)
        return affine_each(layer, x, *_parts(layer, part.apply_noise(flat.expand(len(x), -1))))

    rows = max(1, CHUNK // max(1, len(flat)))
    run: Any = partial(checkpoint, some, use_reentrant=False, preserve_rng_state=False)  # noqa: THN401 (masks are addressed)
    run = some if transformed() else run  # the transforms of torch.func do not support checkpoints
    chunks = [run(*pair, flat) for pair in zip(x.split(rows), ids.split(rows), strict=True)]
    return torch.cat(chunks)


class DropConnect(Wrapped):
    """Drops each weight and bias of a layer, for each sample anew, and scales the kept ones by 1 / (1 - p).

        y = ((M o W) x + m o b) / (1 - p),  M, m ~ Bernoulli(1 - p)

    With `shared=True` the batch has one mask. Each sample has the same mean and variance as before, but the samples share their
    noise, so the gradient of a step has more variance.

    Noise shape: one decision per weight of a sample; with shared=True per weight of a batch.
    Use when: in fully connected layers at the end of a network, before the activation, instead of dropout behind it.
    Avoid when: wide layers at large batches, where masks cost more than the layer; recurrent layers: use WeightDrop.
    Start with: 0.5, with a ReLU behind it and inference="gaussian".
    Cost: a mask of the weights for each sample, forward and twice backward, in parts that fit a cache. No mask is kept.
    Other implementations: pytorch-nlp's WeightDropLinear shares the mask over the batch; Baal's starts from new weights. None
        has
        the Gaussian inference. `drop_connect` in EfficientNet code is stochastic depth.

    Args:
        layer: Linear, Conv1d, Conv2d, Conv3d, or a transposed convolution.
        p: fraction of the weights dropped, on average; rounded to 1/65536.
        shared: one mask for the batch instead of one for each sample.
        inference: "mean", the layer itself in eval; or "gaussian", for a layer that a ReLU follows: the mean of the ReLU's
            output
            over all masks, whose input is taken as Gaussian. It is not negative, so the ReLU does not change it.

    Shapes: those of the layer; axis 0 counts samples. `(N, T, in)` has N masks.

    Raises:
        ValueError: `p` is not in [0, 1], `inference` is invalid, or the input has no sample axis.
        TypeError: `layer` is of another class.

    Source: Wan et al. 2013, ICML, PMLR 28(3):1058.

    >>> layer = DropConnect(nn.Linear(3, 2), 0.5)
    >>> layer(torch.randn(4, 3)).shape, list(layer.state_dict())
    (torch.Size([4, 2]), ['weight', 'bias'])
    """

    layers = AFFINE

    def __init__(
        self,
        layer: nn.Module,
        p: float = 0.5,
        *,
        shared: bool = False,
        inference: Literal["mean", "gaussian"] = "mean",
    ) -> None:
        super().__init__(layer, p)
        if inference not in ("mean", "gaussian"):
            raise ValueError(f"DropConnect: inference must be 'mean' or 'gaussian'; got {inference!r}.")
        self.shared, self.inference = shared, inference

    def bare_in_eval(self) -> bool:
        return self.inference == "mean"

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None if self.shared else 0)
        if key is not None:
            return _drop(key, x, self.layer, self.shared)
        return self.layer(x) if self.inference == "mean" else moments.relu(self.gaussian(x)).mean

    def gaussian(self, x: Tensor) -> Moments:
        """Returns the exact mean and variance of the output over all masks, for a given `x`."""
        given = x, rates.count(self.p or 0.0) / rates.RESOLUTION, self.layer
        return Moments(mean(*given), variance(*given))

    def moments(self, m: Moments) -> Moments:
        """Returns the moments of the output for those of the input, for each output separately."""
        y = moments.layer(moments.dropout(m, self.p or 0.0), self.layer)
        constant = self.gaussian(torch.zeros_like(m.mean)).variance  # of the biases
        return Moments(y.mean * (self.p != 1), y.variance + constant)

    def extra_repr(self) -> str:
        return f"p={self.p}, shared={self.shared}, inference={self.inference!r}"


METHODS = (Method(FACTS, DropConnect, drop_connect),)
