"""Variational dropout, type B: Gaussian noise with a learned variance on each weight."""

from typing import Literal

import torch
from torch import Tensor, nn

from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import local
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.learned.variational_dropout import at_most_zero, divergence, log_alpha_of
from thinnet.methods.numbers import wide
from thinnet.methods.weights.wrapped import Wrapped


def _mean(x: Tensor, p: float, weight: Tensor) -> Tensor:
    return x @ weight.to(x.dtype).T


def _variance(x: Tensor, p: float, weight: Tensor) -> Tensor:
    return x.square() @ weight.to(x.dtype).square().T * p / (1 - p)


def definition(x: Tensor, z: Tensor, p: float, weight: Tensor) -> Tensor:
    """Returns x theta + sqrt(x^2 (alpha theta^2)) z for a linear layer without bias."""
    return _mean(x, p, weight) + _variance(x, p, weight).sqrt() * z


FACTS = Facts(
    domain="(0, 0.5], learned",
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="normal",
    noise_shape=lambda shape, weight: (*shape[:-1], len(weight)),
    in_eval=_mean,
)


class VariationalWeightDropout(Penalised, Wrapped):
    """Adds learned Gaussian noise to each weight of a layer, drawn on its outputs. Needs `thinnet.penalty` in the loss.

        y = x theta + bias + sqrt(x^2 (alpha theta^2)) z,  z ~ N(0, 1),  alpha = p / (1 - p) <= 1
        penalty = sum over weights of KL(N(1, alpha) || log-uniform) / N

    In eval it is the layer. A checkpoint has the keys of the layer, and `log_alpha`.

    Noise shape: one number per output of a sample; one rate per weight, per input unit, or for the layer.
    Use when: around linear layers and convolutions, to learn the uncertainty of weights.
    Avoid when: weights must be pruned: rates end at 0.5, so use SparseVariationalDropout; or thinnet.penalty is not in the
        loss: then the noise vanishes.
    Start with: p = 0.2, one rate for the layer.
    Cost: the layer twice, forward and backward, and one normal number per output.
    Other implementations: no maintained library. In a convolution the outputs of a sample have independent noise although they
        share weights, here and in the published code.

    Args:
        layer: its weight is noisy, not its bias.
        p: initial rate, in (0, 0.5]; `learned_p` is the current one.
        per: whether the "layer" has one rate, or each input "unit" (channel), or each "weight".

    Shapes: those of the layer.

    Raises: ValueError if `p` is not in (0, 0.5], or `per` is unknown; TypeError if `layer` is neither `nn.Linear` nor a
        convolution.

    Source: Kingma, Salimans, Welling 2015, arXiv:1506.02557, sections 2.2 and 3.

    >>> layer = VariationalWeightDropout(nn.Linear(4, 2), p=0.2, per="unit")
    >>> layer(torch.randn(8, 4)).shape, layer.learned_p.shape
    (torch.Size([8, 2]), torch.Size([1, 4]))
    """

    layers = local.LAYERS

    def __init__(self, layer: nn.Module, p: float = 0.2, per: Literal["layer", "unit", "weight"] = "layer") -> None:
        if per not in ("layer", "unit", "weight"):
            raise ValueError(f"VariationalWeightDropout: per must be 'layer', 'unit' or 'weight'; got {per!r}.")
        start = log_alpha_of("VariationalWeightDropout", p)
        super().__init__(layer, None)
        weight = self.layer.weight
        units = (1, weight.shape[1], *[1] * (weight.ndim - 2))
        shape = {"layer": (), "unit": units, "weight": weight.shape}[per]
        self.log_alpha = nn.Parameter(torch.full(shape, start, dtype=weight.dtype, device=weight.device))

    @property
    def learned_p(self) -> Tensor:
        """The current rates, alpha / (1 + alpha), with gradient, broadcastable to the weight."""
        return at_most_zero(self.log_alpha).sigmoid()

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        if key is None:
            return self.layer(x)
        weight = self.layer.weight
        return local.noisy(key, self.layer, x, at_most_zero(self.log_alpha).exp() * weight.to(wide(weight)).square())

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of the noise of all weights from the log-uniform prior, over N."""
        return divergence(at_most_zero(self.log_alpha)).expand(self.layer.weight.shape).sum() / samples

    def extra_repr(self) -> str:
        return f"p={self.learned_p.mean().item():.3g}"


METHODS = (Method(FACTS, VariationalWeightDropout, title="Variational dropout of weights"),)
