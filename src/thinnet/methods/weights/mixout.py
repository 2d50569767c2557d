"""Mixout: a dropped weight takes its pre-trained value instead of zero."""

from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods import call
from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.affine import AFFINE, affine, output
from thinnet.methods.weights.weight_drop import run_with
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey


def definition(x: Tensor, u: Tensor, p: float, layer: Any, target: Tensor | None = None) -> Tensor:
    """Returns the layer's output with the weights of the paper: kept where u >= p; `u` is `(1, weights)`."""
    weight, before = layer.weight.to(x.dtype), _target(layer, target).to(x.dtype)
    kept = u.reshape(weight.shape) >= p
    mixed = (torch.where(kept, weight, before) - p * before) / (1 - p)
    return affine(layer, x, mixed, None if layer.bias is None else layer.bias.to(x.dtype))


def mean(x: Tensor, p: float, layer: Any, target: Tensor | None = None) -> Tensor:
    """Returns W x + b for a Linear or Conv layer."""
    return output(layer, x)


def variance(x: Tensor, p: float, layer: Any, target: Tensor | None = None) -> Tensor:
    """Returns p / (1 - p) ((W - W0) o (W - W0))(x o x) for a Linear or Conv layer."""
    moved = (layer.weight - _target(layer, target)).to(x.dtype).square()
    return affine(layer, x.square(), moved * (p / (1 - p)), None)


def _target(layer: Any, target: Tensor | None) -> Tensor:
    return layer.weight.detach() if target is None else target


FACTS = Facts(
    domain="[0, 1)",
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=lambda shape, layer, target=None: (1, layer.weight.numel()),
    independent=False,
    per_batch=True,
    in_eval=lambda x, p, layer, target=None: layer(x),
)


def mixout(
    weight: Tensor,
    p: float | Tensor = 0.5,
    *,
    target: Tensor,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `Mixout`, applied to a weight instead of a layer.

    Args:
        weight: W, floating point, of any shape.
        target: W0, of the same shape; it receives a gradient if it requires one.
        training: whether to drop; `weight` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: a tensor like `weight`.

    >>> mixed = mixout(torch.ones(100), 0.5, target=torch.zeros(100), training=True)
    >>> sorted(set(mixed.tolist()))
    [0.0, 2.0]
    """
    if not isinstance(weight, Tensor):
        return no_tensor(mixout, locals())
    _check("mixout", weight, target)
    key = call.draw_key("mixout", weight, p, training, generator, below_one=True)
    return weight if key is None else _mixed(key, weight, target)


def _mixed(key: NoiseKey, weight: Tensor, target: Tensor) -> Tensor:
    """Returns W0 + m (W - W0) / (1 - p), rounded once."""
    dtype = torch.promote_types(weight.dtype, torch.float32)
    before = target.to(dtype)
    return (before + key.apply_noise(weight.to(dtype) - before)).to(weight.dtype)


def _check(function: str, weight: Tensor, target: Tensor) -> None:
    if not isinstance(target, Tensor):
        raise TypeError(f"{function}: target must be a tensor; got {type(target).__name__}. Pass the pre-trained weight.")
    if target.shape != weight.shape:
        rule = f"{function}: target must have the shape of the weight, {tuple(weight.shape)}"
        raise ValueError(f"{rule}; got {tuple(target.shape)}. Pass the pre-trained weight of this layer.")


class Mixout(Wrapped):
    """Sets dropped weights back to the pre-trained ones and corrects the mean, so that fine-tuning stays near them.

        W' = (m W + (1 - m) W0 - p W0) / (1 - p) = W0 + m (W - W0) / (1 - p),  m ~ Bernoulli(1 - p)

    The bias is not changed.

    Noise shape: one decision per weight, for the whole batch.
    Use when: in linear layers of a pre-trained network that is fine-tuned on little data, instead of its dropout.
    Avoid when: layers are not pre-trained, such as a new head; training from scratch, where W0 means nothing.
    Start with: 0.5; a higher p keeps the network nearer to W0, up to 0.9 on very little data.
    Cost: a mask and a copy of the weight for each forward pass, and the memory of W0.
    Other implementations: the authors' MixLinear, a class of its own for nn.Linear; not in PyTorch.

    Args:
        layer: Linear, a convolution or Embedding: its `weight` is mixed.
        p: fraction of the weights set back, on average; rounded to 1/65536.
        target: W0, which is copied; by default the layer's present weight, so wrap after loading the pre-trained weights. It
            is a saved buffer, not a parameter.

    Shapes: those of the layer.

    Raises:
        ValueError: `p` is not in [0, 1), or `target` has another shape than the weight.
        TypeError: `layer` is of another class.

    Source: Lee, Cho, Kang 2020, ICLR, arXiv:1909.11299.

    >>> layer = Mixout(nn.Linear(3, 2), 0.9)
    >>> list(layer.state_dict()), [name for name, _ in layer.named_parameters()]
    (['target', 'weight', 'bias'], ['layer.weight', 'layer.bias'])
    """

    layers = (*AFFINE, nn.Embedding)
    below_one = True
    target: Tensor

    def __init__(self, layer: nn.Module, p: float = 0.5, target: Tensor | None = None) -> None:
        super().__init__(layer, p)
        before = _target(layer, target)
        _check("Mixout", self.layer.weight, before)
        self.register_buffer("target", before.detach().clone())
        self.register_load_state_dict_post_hook(_separated)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None)
        if key is None:
            return self.layer(x)
        return run_with(self.layer, {"weight": _mixed(key, self.layer.weight, self.target)}, x)


def _separated(module: Mixout, *_: object) -> None:
    """Copies W0 where `load_state_dict(assign=True)` made it a parameter or gave it the memory of W, which training changes."""
    if "target" in module._parameters or torch._C._is_alias_of(module.target, module.layer.weight):  # type: ignore
        before = module.target.detach().clone()
        del module.target
        module.register_buffer("target", before)


METHODS = (Method(FACTS, Mixout, mixout),)
