"""Sparse variational dropout: learns the variance of each weight and prunes weights that are only noise."""

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import local
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.numbers import real, wide
from thinnet.methods.weights.wrapped import Wrapped

K1, K2, K3 = 0.63576, 1.8732, 1.48695
THRESHOLD = 3.0
BOUND = 8.0  # of log alpha, as published


def divergence(log_alpha: Tensor) -> Tensor:
    """Returns KL(N(1, alpha) || log-uniform) up to a constant: it is 0 at infinite alpha.

    KL = k1 - k1 sigmoid(k2 + k3 log alpha) + log(1 + 1 / alpha) / 2.

    >>> round(float(divergence(torch.tensor(8.0))), 6)
    0.000168
    """
    return K1 * torch.sigmoid(-(K2 + K3 * log_alpha)) + 0.5 * F.softplus(-log_alpha)


def _kept(weight: Tensor, sigma2: float | Tensor, threshold: float = THRESHOLD) -> Tensor:
    return torch.where(torch.as_tensor(sigma2).log() - weight.square().log() < threshold, weight, 0)


def _mean(x: Tensor, sigma2: float, weight: Tensor) -> Tensor:
    return x @ weight.to(x.dtype).T


def _variance(x: Tensor, sigma2: float, weight: Tensor) -> Tensor:
    return x.square() @ (sigma2 * torch.ones_like(weight, dtype=x.dtype)).T


def definition(x: Tensor, z: Tensor, sigma2: float, weight: Tensor) -> Tensor:
    """Returns x theta + sqrt(x^2 sigma^2) z for a linear layer without bias and with one variance for all weights."""
    return _mean(x, sigma2, weight) + _variance(x, sigma2, weight).sqrt() * z


FACTS = Facts(
    domain="sigma^2 above 0, learned",
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="normal",
    noise_shape=lambda shape, weight: (*shape[:-1], len(weight)),
    in_eval=lambda x, sigma2, weight: x @ _kept(weight.to(x.dtype), sigma2).T,
)


class SparseVariationalDropout(Penalised, Wrapped):
    """Adds learned Gaussian noise to each weight of a layer, and sets weights that are only noise to zero in eval.

        training:  y = x theta + bias + sqrt(x^2 sigma^2) z,  z ~ N(0, 1)
        eval:      y = x (theta 1[log alpha < threshold]) + bias,  alpha = sigma^2 / theta^2
        penalty = sum over weights of KL(N(theta, alpha theta^2) || log-uniform) / N, approximated for every alpha

    Needs `thinnet.penalty` in the loss, times a factor that grows from 0 to 1: at full strength from the start it prunes
    weights before they learn. A checkpoint has the keys of the layer, and `log_sigma2`.

    Noise shape: one number per output of a sample; the variance is per weight.
    Use when: around linear layers and convolutions, to find the weights that are needed.
    Avoid when: the penalty is at full strength from the start, which prunes too early, or is not in the loss.
    Start with: log sigma^2 = -10, threshold 3; the penalty times a factor that grows from 0 to 1 early in training.
    Cost: the layer twice, forward and backward, twice its parameters, and one normal number per output.
    Other implementations: the authors' repository, google-research's state_of_sparsity (TensorFlow); no maintained PyTorch
        library.

    Args:
        layer: its weight is noisy, not its bias.
        log_sigma2: initial logarithm of the variance.
        threshold: log alpha from which a weight is pruned; 3 is a rate of 0.95.

    Shapes: those of the layer.

    Raises: ValueError if `log_sigma2` is not finite, or `threshold` is not in (-8, 8), to which log alpha is clipped; TypeError
        if `layer` is neither `nn.Linear` nor a convolution.

    Source: Molchanov, Ashukha, Vetrov 2017, arXiv:1701.05369.

    >>> layer = SparseVariationalDropout(nn.Linear(4, 2))
    >>> x = torch.randn(8, 4)
    >>> torch.equal(layer.eval()(x), layer.prune()(x)), layer.sparsity()
    (True, 0.0)
    """

    layers = local.LAYERS

    def __init__(self, layer: nn.Module, log_sigma2: float = -10.0, threshold: float = THRESHOLD) -> None:
        name = type(self).__name__
        if not -math.inf < real(log_sigma2) < math.inf:
            raise ValueError(f"{name}: log_sigma2 must be a finite number; got {log_sigma2!r}. Start with -10.")
        if not -BOUND < real(threshold) < BOUND:
            raise ValueError(f"{name}: threshold must be in (-8, 8); got {threshold!r}. It is compared with log alpha.")
        super().__init__(layer, None)
        self.threshold = threshold
        self.log_sigma2 = nn.Parameter(torch.full_like(self.layer.weight, log_sigma2))

    @property
    def log_alpha(self) -> Tensor:
        """log(sigma^2 / theta^2) of each weight, clipped to [-8, 8] as published, with gradient."""
        weight = self.layer.weight
        log_theta2 = 2 * torch.log(weight.abs().to(wide(weight)) + 1e-16)
        return (self.log_sigma2.to(log_theta2.dtype) - log_theta2).clamp(-BOUND, BOUND)

    @property
    def learned_p(self) -> Tensor:
        """The current rates, alpha / (1 + alpha), one per weight, with gradient."""
        return self.log_alpha.sigmoid()

    def sparsity(self) -> float:
        """Returns the share of weights that is pruned in eval."""
        return float((self.log_alpha >= self.threshold).double().mean())

    def prune(self) -> nn.Module:
        """Returns a copy of the layer without noise and with exact zeros: what eval computes."""
        layer = copy.deepcopy(self.layer)
        layer.weight = nn.Parameter(self._kept().detach().clone(), requires_grad=layer.weight.requires_grad)
        return layer

    def _kept(self) -> Tensor:
        return torch.where(self.log_alpha < self.threshold, self.layer.weight, 0)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        if key is None:
            return local.apply(self.layer, x, self._kept(), self.layer.bias)
        return local.noisy(key, self.layer, x, self.log_sigma2.to(wide(self.log_sigma2)).exp())

    def penalty(self, samples: int) -> Tensor:
        """Returns the divergence of all weights from the log-uniform prior, over N."""
        return divergence(self.log_alpha).sum() / samples

    def extra_repr(self) -> str:
        return f"threshold={self.threshold:g}, sparsity={self.sparsity():.3g}"


METHODS = (Method(FACTS, SparseVariationalDropout),)
