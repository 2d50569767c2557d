"""Quant-Noise: quantises random blocks of a layer's weights in training."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods import call
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.weights.weight_drop import run_with
from thinnet.methods.weights.wrapped import Wrapped, check_layer
from thinnet.rng import NoiseKey

LAYERS = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def checked(function: str, block: object, bits: object) -> tuple[int, int]:
    """Returns the size of a block and the number of bits, or raises a ValueError."""
    if type(block) is not int or block < 1:
        raise ValueError(f"{function}: block must be a positive integer; got {block!r}. The paper uses 8, and 4 or 9 for maps.")
    if type(bits) is not int or not 1 <= bits <= 16:
        raise ValueError(f"{function}: bits must be an integer from 1 to 16; got {bits!r}. The paper uses 8 and 4.")
    return block, bits


def quantised(weight: Tensor, bits: int) -> Tensor:
    """Returns the weights at the nearest of 2^bits levels between the smallest and the largest.

    >>> quantised(torch.tensor([0.0, 0.2, 0.9, 1.0]), 1)
    tensor([0., 0., 1., 1.])
    """
    low = weight.min()
    step = (weight.max() - low) / (2**bits - 1)
    levels = ((weight - low) / step.clamp(min=torch.finfo(weight.dtype).tiny)).round()
    return low + levels * step


def noise_shape(shape: Any, layer: Any, block: int = 8, bits: int = 8) -> tuple[int, int]:
    """Returns one decision for each block: of the inputs of an output, or of the features of an embedding."""
    outputs = len(layer.weight)
    return outputs, -(-layer.weight.numel() // outputs // block)


def _noisy(weight: Tensor, kept: Tensor, block: int, bits: int) -> Tensor:
    """Returns the weights with the other blocks quantised; the gradient is that of the weights themselves."""
    flat = weight.detach().flatten(1)
    change = torch.where(kept.repeat_interleave(block, 1)[:, : flat.shape[1]], 0, quantised(flat, bits) - flat)
    return weight + change.reshape(weight.shape)


def definition(x: Tensor, u: Tensor, p: float, layer: Any, block: int = 8, bits: int = 8) -> Tensor:
    """Returns the layer's output with the blocks u < p quantised, and the gradient of the weights passed through."""
    return run_with(layer, {"weight": _noisy(layer.weight, u >= p, block, bits)}, x)


def mean(x: Tensor, p: float, layer: Any, block: int = 8, bits: int = 8) -> Tensor:
    """Returns the output of the weights W + p (Q(W) - W)."""
    weight = layer.weight.detach().flatten(1)
    average = weight + p * (quantised(weight, bits) - weight)
    return run_with(layer, {"weight": average.reshape(layer.weight.shape).to(x.dtype), **_bias(layer, x)}, x)


def _bias(layer: Any, x: Tensor) -> dict[str, Tensor]:
    return {} if layer.bias is None else {"bias": layer.bias.to(x.dtype)}


def variance(x: Tensor, p: float, layer: Any, block: int = 8, bits: int = 8) -> Tensor:
    """Returns p (1 - p) times the sum over blocks of ((Q(W) - W) x)^2, for a linear layer."""
    weight = layer.weight.detach().flatten(1)
    change = (quantised(weight, bits) - weight).to(x.dtype)
    parts = [x[..., at : at + block] @ change[:, at : at + block].mT for at in range(0, weight.shape[1], block)]
    return p * (1 - p) * torch.stack(parts).square().sum(0)


FACTS = Facts(
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=noise_shape,
    independent=False,
    per_batch=True,
    in_eval=lambda x, p, layer, block=8, bits=8: layer(x),
    used_by=(Use("fairseq", "--quant-noise-pq 0.1 --quant-noise-pq-block-size 8"), Use("fairseq", "--quant-noise-scalar 0.5")),
)


def _run(key: NoiseKey | None, x: Tensor, layer: Any, block: int, bits: int) -> Tensor:
    if key is None:
        return layer(x)
    kept = key.mask(noise_shape(x.shape, layer, block, bits))
    return run_with(layer, {"weight": _noisy(layer.weight, kept, block, bits)}, x)


def quant_noise(
    x: Tensor,
    p: float | Tensor = 0.1,
    *,
    layer: nn.Module,
    block: int = 8,
    bits: int = 8,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `QuantNoise`.

    Args:
        x: the input of the layer.
        training: whether to quantise; `layer(x)` is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> quant_noise(torch.ones(1, 4), 1.0, layer=nn.Linear(4, 2), bits=2, training=True).shape
    torch.Size([1, 2])
    """
    if not isinstance(x, Tensor):
        return no_tensor(quant_noise, locals())
    check_layer("quant_noise", layer, LAYERS)
    block, bits = checked("quant_noise", block, bits)
    key = call.draw_key("quant_noise", x if x.is_floating_point() else layer.weight, p, training, generator)  # type: ignore
    return _run(key, x, layer, block, bits)


class QuantNoise(Wrapped):
    """Quantises random blocks of a layer's weights in each training step, so that the network tolerates quantisation later.

        W' = W + M (Q(W) - W),  M ~ Bernoulli(p) for each block;  dL/dW = dL/dW'

    Q rounds to 2^bits levels between the smallest and the largest weight. The gradient passes straight through Q. The weight
    is never written: an average of steps does not drift to zero or to the levels. In eval it is the layer with its exact
    weights; quantise the trained layer with the tool that deploys it. At p = 1 it is quantisation-aware training.

    Noise shape: one decision per block of consecutive inputs of an output, shared by the batch.
    Use when: the network is quantised after training to 8 or fewer bits, and loses accuracy by that.
    Avoid when: it is not quantised: the noise then only slows learning.
    Start with: p = 0.1 and block 8; p = 0.5 for bits of 4 and below.
    Cost: two passes over the weights in each forward pass.
    Other implementations: fairseq writes masked weights into `weight.data`, where zeros accumulate between optimiser steps.

    Args:
        layer: nn.Linear, nn.Embedding or a convolution, which becomes the child `layer`. The checkpoint has its keys.
        p: probability that a block is quantised, rounded to 1/65536.
        block: consecutive weights of a block.
        bits: bits of a quantised weight.

    Shapes: those of the layer.

    Raises: ValueError if `p` is not in [0, 1], `block` is no positive integer or `bits` not in 1 .. 16; TypeError if `layer` is
        of another class.

    Source: Fan, Stock, Graham, Grave, Gribonval, Jegou, Joulin 2021, "Training with quantization noise for extreme model
        compression", ICLR, arXiv:2004.07320.

    >>> layer = QuantNoise(nn.Linear(16, 4), 0.5, bits=4)
    >>> layer(torch.randn(2, 16)).shape, list(layer.state_dict())
    (torch.Size([2, 4]), ['weight', 'bias'])
    """

    layers = LAYERS

    def __init__(self, layer: nn.Module, p: float = 0.1, block: int = 8, bits: int = 8) -> None:
        super().__init__(layer, p)
        self.block, self.bits = checked("QuantNoise", block, bits)

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        return _run(self.key(x, batch=None), x, self.layer, self.block, self.bits)

    def extra_repr(self) -> str:
        return f"p={self.p}, block={self.block}, bits={self.bits}"


METHODS = (Method(FACTS, QuantNoise, quant_noise, title="Quant-Noise"),)
