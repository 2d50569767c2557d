"""Weight-drop: drops weights of a recurrent layer once for all time steps."""

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.weights.affine import affine
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey


def definition(x: Tensor, u: Tensor, p: float, layer: Any, **_: object) -> Tensor:
    """Returns the output of a Linear or Conv layer whose weights are kept where u >= p; `u` is `(1, weights)`."""
    weight = layer.weight.to(x.dtype)
    kept = torch.where(u.reshape(weight.shape) >= p, weight / (1 - p), 0)
    return affine(layer, x, kept, None if layer.bias is None else layer.bias.to(x.dtype))


def mean(x: Tensor, p: float, layer: Any, **_: object) -> Tensor:
    """Returns W x + b for a Linear or Conv layer, and b at p = 1."""
    return affine(layer, x, layer.weight.to(x.dtype) * (p < 1), None if layer.bias is None else layer.bias.to(x.dtype))


def variance(x: Tensor, p: float, layer: Any, **_: object) -> Tensor:
    """Returns p / (1 - p) (W o W)(x o x) for a Linear or Conv layer."""
    return affine(layer, x.square(), layer.weight.to(x.dtype).square() * (p / (1 - p) if p < 1 else 0), None)


FACTS = Facts(
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=lambda shape, layer, **_: (1, layer.weight.numel()),
    independent=False,
    per_batch=True,
    in_eval=lambda x, p, layer, **_: layer(x),
    used_by=(
        Use("fastai, AWD-LSTM", "WeightDropout(weight_p)"),
        Use("pytorch-nlp", "torchnlp.nn.WeightDropLSTM(weight_dropout)"),
    ),
)


def chosen(function: str, layer: nn.Module, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the layer's parameters that match a pattern; each pattern must match at least one.

    >>> chosen("example", nn.LSTM(2, 2, num_layers=2), "weight_hh_*")
    ('weight_hh_l0', 'weight_hh_l1')
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    names = [name for name, _ in layer.named_parameters()]
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if unknown or not patterns:
        raise ValueError(f"{function}: weights must name parameters of the layer, out of {names}; got {unknown or patterns}.")
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def drop_all(key: NoiseKey, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the tensors with dropped elements; one key covers all, and the units of each follow those of the one before."""
    if len(tensors) == 1:
        return [key.apply_noise(tensors[0])]
    dropped = key.apply_noise(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = dropped.split([tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def run_with(layer: nn.Module, tensors: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Returns `layer(*args, **kwargs)` with these tensors instead of its parameters, which do not change.

    A recurrent layer lists its weights and, on a GPU, moves them into one piece of memory for cuDNN. There a copy of the layer
    runs, with copies of all its weights.
    """
    if not isinstance(layer, nn.RNNBase):
        return functional_call(layer, tensors, args, kwargs)
    thinned = copy.copy(layer)
    weights = {**layer._parameters, **tensors}
    on_gpu = any(weight is not None and weight.is_cuda for weight in weights.values())
    thinned._parameters = {name: w.clone() if on_gpu and w is not None else w for name, w in weights.items()}  # type: ignore
    return thinned(*args, **kwargs)


class WeightDrop(Wrapped):
    """Drops hidden-to-hidden weights of a recurrent layer, the same for all time steps and samples of a forward pass.

        W_hh = M o U / (1 - p),  M ~ Bernoulli(1 - p)

    Noise shape: one decision per weight, for the whole batch and sequence.
    Use when: around nn.LSTM, nn.GRU or nn.RNN: dropping units of the recurrent connections would damage the memory.
    Avoid when: on input-to-hidden weights, where dropout of the input does the same for less; where each sample needs a mask.
    Start with: 0.5 on the hidden-to-hidden weights of all layers and directions.
    Cost: a mask and a copy of the weights for each forward pass; the fused kernels of the layer stay in use. The dropped
        weights
        are kept for backward by the layer itself.
    Other implementations: torchnlp WeightDropLSTM (fails after eval, omits the reverse direction); better_lstm (overwrites the
        weights, so that zeros accumulate); fastai WeightDropout (loses cuDNN's layout).

    Args:
        layer: nn.LSTM, nn.GRU or nn.RNN; or any other module.
        p: fraction of the weights dropped, on average; rounded to 1/65536.
        weights: names or `fnmatch` patterns of parameters; by default `"weight_hh*"` for a recurrent layer, all layers and
            directions, and `"weight"` for others.

    Shapes: those of the layer: also a PackedSequence, initial states, or no batch axis.

    Raises:
        ValueError: `p` is not in [0, 1], or `weights` names no parameter.

    Source: Merity, Keskar, Socher 2017, arXiv:1708.02182.

    >>> lstm = WeightDrop(nn.LSTM(3, 4), 0.5)
    >>> output, (h, c) = lstm(torch.randn(7, 2, 3))
    >>> output.shape, list(lstm.state_dict())[:2]
    (torch.Size([7, 2, 4]), ['weight_ih_l0', 'weight_hh_l0'])
    """

    def __init__(self, layer: nn.Module, p: float = 0.5, weights: str | Sequence[str] | None = None) -> None:
        super().__init__(layer, p)
        recurrent = isinstance(layer, (nn.RNNBase, nn.RNNCellBase))
        default = "weight_hh*" if recurrent else "weight"
        self.weights = chosen("WeightDrop", layer, default if weights is None else weights)

    def bare_in_eval(self) -> bool:
        return True

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the output of the layer, in training with dropped weights."""
        if isinstance(x, fx.Proxy):
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *args), kwargs)  # type: ignore
        whole = [attrgetter(name)(self.layer) for name in self.weights]  # inside `functional_call` they are no parameters
        key = self.key(whole[0], batch=None)
        if key is None:
            return self.layer(x, *args, **kwargs)
        return run_with(self.layer, dict(zip(self.weights, drop_all(key, whole), strict=True)), x, *args, **kwargs)

    def extra_repr(self) -> str:
        return f"p={self.p}, weights={list(self.weights)}"


METHODS = (Method(FACTS, WeightDrop, title="Weight-drop"),)
