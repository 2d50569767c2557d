"""Weight-drop: the weights between the time steps are dropped once for a forward pass, so every step sees the same network.

    h_t = LSTM(x_t, h_(t-1);  W_hh = M o U / (1 - p)),  M ~ Bernoulli(1 - p), one M for all t and all samples

Merity, Keskar, Socher 2017, "Regularizing and Optimizing LSTM Language Models", arXiv:1708.02182.
"""

import copy
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call

from thinnet.methods.facts import Facts, Method
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
    name="Weight-drop",
    summary="Drops the hidden-to-hidden weights of a recurrent layer, each by its own coin, once for each forward pass.",
    equation="W_hh = M o U / (1 - p),  M ~ Bernoulli(1 - p), one M for all time steps and samples",
    paper="Merity et al. 2017, arXiv:1708.02182",
    grain="weight, one mask for a forward pass",
    place="around nn.LSTM, nn.GRU or nn.RNN: the recurrent connections, where dropping units would damage the memory",
    avoid="on input-to-hidden weights, where dropout of the input does the same for less; where each sample needs a mask",
    default="0.5 on the hidden-to-hidden weights of all layers and directions",
    cost="one coin a weight and a copy of the weights, once for each forward pass; the fused kernels of the layer stay in use."
    " Kept for backward: the dropped weights, which the layer itself keeps",
    elsewhere="torchnlp WeightDropLSTM (fails when it goes from training to eval and back, leaves out the reverse direction);"
    " better_lstm (overwrites the weights, so that zeros add up); fastai WeightDropout (gives up cuDNN's layout)",
    mean=mean,
    variance=variance,
    definition=definition,
    noise_shape=lambda shape, layer, **_: (1, layer.weight.numel()),
    independent=False,
    per_batch=True,
    in_eval=lambda x, p, layer, **_: layer(x),
)


def chosen(function: str, layer: nn.Module, patterns: str | Sequence[str]) -> tuple[str, ...]:
    """Returns the names of the layer's parameters that match one of the patterns; each pattern has to match one.

    >>> chosen("example", nn.LSTM(2, 2, num_layers=2), "weight_hh_*")
    ('weight_hh_l0', 'weight_hh_l1')
    """
    patterns = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    names = [name for name, _ in layer.named_parameters()]
    unknown = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if unknown or not patterns:
        raise ValueError(f"{function}: weights must name parameters of the layer, out of {names}; got {unknown or patterns}.")
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns))


def toss_all(key: NoiseKey, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Returns the tensors with one coin an element, all of one draw: the units of each follow those of the one before."""
    if len(tensors) == 1:
        return [key.apply_noise(tensors[0])]
    tossed = key.apply_noise(torch.cat([tensor.flatten() for tensor in tensors]))
    parts = tossed.split([tensor.numel() for tensor in tensors])
    return [part.reshape(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def run_with(layer: nn.Module, tensors: dict[str, Tensor], *args: Any, **kwargs: Any) -> Any:
    """Returns `layer(*args, **kwargs)` with these tensors in the place of its parameters, which are left as they are.

    A recurrent layer keeps a list of its weights and, on a GPU, moves them into one piece of memory for cuDNN: it is run as
    a copy of itself there, with copies of all its weights, and nothing of it is left behind.
    """
    if not isinstance(layer, nn.RNNBase):
        return functional_call(layer, tensors, args, kwargs)
    thinned = copy.copy(layer)
    weights = {**layer._parameters, **tensors}
    on_gpu = any(weight is not None and weight.is_cuda for weight in weights.values())
    thinned._parameters = {name: w.clone() if on_gpu and w is not None else w for name, w in weights.items()}  # type: ignore
    return thinned(*args, **kwargs)


class WeightDrop(Wrapped):
    """A layer some of whose weights are dropped at random in training, once for each forward pass; the whole layer in eval.

    W = M o U / (1 - p), with M ~ Bernoulli(1 - p) for each weight, the same for all time steps and samples.

    Args:
        layer: nn.LSTM, nn.GRU or nn.RNN; or any other module.
        p: fraction of the weights dropped, on average; honoured to 1/65536.
        weights: which parameters, by name or `fnmatch` pattern; `"weight_hh*"` of a recurrent layer, all layers and directions,
            and `"weight"` of others, if left out.

    Shapes: those of the layer: also a PackedSequence, initial states, or no batch axis.

    Raises:
        ValueError: `p` is not in [0, 1], or `weights` names no parameter.

    Source: Merity et al. 2017, arXiv:1708.02182.

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

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns what the layer returns, in training with dropped weights."""
        if isinstance(x, fx.Proxy):
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x, *args), kwargs)  # type: ignore
        whole = [self.layer.get_parameter(name) for name in self.weights]
        key = self.key(whole[0], batch=None)
        if key is None:
            return self.layer(x, *args, **kwargs)
        return run_with(self.layer, dict(zip(self.weights, toss_all(key, whole), strict=True)), x, *args, **kwargs)

    def extra_repr(self) -> str:
        """Returns the rate and the names of the weights."""
        return f"p={self.p}, weights={list(self.weights)}"


METHODS = (Method(FACTS, WeightDrop),)
