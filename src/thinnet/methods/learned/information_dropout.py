"""Information dropout: log-normal noise whose size a side layer learns per sample."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from thinnet.methods.call import no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.methods.learned import rate
from thinnet.methods.learned.penalty import Penalised
from thinnet.methods.numbers import real, times, wide
from thinnet.rng import NoiseKey
from thinnet.rng.site import recorded

LEAST, LIMIT = 0.001, 0.7
SMALLEST = 1e-4  # activation of the log-normal prior


def definition(x: Tensor, z: Tensor, alpha: float) -> Tensor:
    """Returns x exp(alpha z)."""
    return x * torch.exp(alpha * z)


FACTS = Facts(
    domain="alpha in (0.001, 0.7), learned",
    expected_drop=lambda alpha: 0.0,
    mean=lambda x, alpha: x * math.exp(alpha**2 / 2),
    variance=lambda x, alpha: x * x * math.exp(alpha**2) * math.expm1(alpha**2),
    definition=definition,
    noise="normal",
)


def log_uniform(alpha: Tensor, limit: float = LIMIT) -> Tensor:
    """Returns log(limit / alpha): KL(logNormal(log x, alpha^2) || log-uniform) up to a constant.

    >>> round(float(log_uniform(torch.tensor(0.35))), 4)
    0.6931
    """
    return math.log(limit) - alpha.log()


def log_normal(x: Tensor, alpha: Tensor, mean: Tensor, sigma: Tensor) -> Tensor:
    """Returns KL(logNormal(log x, alpha^2) || logNormal(mean, sigma^2)).

    KL = (alpha^2 + m^2) / (2 sigma^2) - log(alpha / sigma) - 1/2, with m = log x - mean.

    >>> one = torch.ones(())
    >>> float(log_normal(one, one, 0 * one, one))
    0.0
    """
    shift = x.clamp_min(SMALLEST).log() - mean
    return (alpha.square() + shift.square()) / (2 * sigma.square()) - (alpha / sigma).log() - 0.5


def _drop(key: NoiseKey, x: Tensor, alpha: Tensor) -> Tensor:
    return times(x, (alpha * key.normal(x.shape)).exp())


def information_dropout(
    x: Tensor, alpha: float | Tensor, *, training: bool, generator: torch.Generator | None = None
) -> Tensor:
    """Functional form of `InformationDropout`. Returns x exp(alpha e) for a given alpha, without a side layer.

    Args:
        x: any shape, batch first; floating point or complex.
        alpha: size of the noise, at least 0: a number, or a tensor that broadcasts, and gets a gradient if it requires one.
        training: whether to apply noise; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> bool((information_dropout(torch.ones(100), 0.5, training=True) > 0).all())
    True
    """
    if not isinstance(x, Tensor):
        return no_tensor(information_dropout, locals())
    drawn = rate.draw_key("information_dropout", x, alpha, math.inf, training, generator)
    return x if drawn is None else _drop(drawn[0], x, drawn[1])


class InformationDropout(Penalised):
    """Multiplies each element by log-normal noise whose size a side layer learns. Needs `thinnet.penalty` in the loss.

        z = x exp(alpha e),  e ~ N(0, 1),  alpha = 0.001 + (limit - 0.001) sigmoid(side(source))
        penalty = beta / N times the mean over the batch of the sum over units of KL(p(z | x) || q(z))

    The penalty depends on the input and belongs to the last training pass: read it after each pass, and use a module once per
    pass. It is missing if that pass is checkpointed with `use_reentrant=True`, or is compiled. Its graph lives until the next
    training pass. E[z] = x exp(alpha^2 / 2), up to 1.28 x.

    Noise shape: one number per element; its size alpha is per element of each sample.
    Use when: after ReLU (log-uniform prior) or softplus (log-normal prior), to pass only the information that the task needs.
    Avoid when: thinnet.penalty is not in the loss, or an exact expectation matters.
    Start with: beta = 3, limit 0.7, one side layer of the size of the layer before.
    Cost: the side layer, one normal number and one exponential per element; four numbers per element are stored for backward.
    Other implementations: the authors' code (TensorFlow), whose loss has beta KL / N as here; the paper's beta is our beta / N.

    Args:
        side: a module from the source to one number per unit; its output broadcasts to the shape of the input.
        prior: "log-uniform", for inputs after a ReLU, with KL = log(limit / alpha); or "log-normal", for positive inputs, after
            a softplus, with learned mean and width.
        beta: weight of the penalty, at least 0; divided by N, as in the authors' code.
        limit: largest alpha, above 0.001.

    Shapes: any, batch first; the output has the shape of the input. `source`, by default `x`, is the input of `side`; the paper
        uses the input of the layer before.

    Raises: ValueError if `prior` is unknown, or `beta` or `limit` is out of range; RuntimeError if the penalty is read before a
        training pass.

    Source: Achille, Soatto 2018, IEEE TPAMI, arXiv:1611.01353.

    >>> layer = InformationDropout(nn.Linear(16, 16))
    >>> layer(torch.randn(8, 16).relu()).shape, bool(layer.penalty(samples=1000) > 0)
    (torch.Size([8, 16]), True)
    """

    def __init__(
        self,
        side: nn.Module,
        prior: Literal["log-uniform", "log-normal"] = "log-uniform",
        beta: float = 3.0,
        limit: float = LIMIT,
    ) -> None:
        if prior not in ("log-uniform", "log-normal"):
            raise ValueError(f"InformationDropout: prior must be 'log-uniform' or 'log-normal'; got {prior!r}.")
        if not 0 <= real(beta) < math.inf:
            raise ValueError(f"InformationDropout: beta must be a number of at least 0; got {beta!r}. Start with 3.")
        if not LEAST < real(limit) < math.inf:
            raise ValueError(f"InformationDropout: limit must be a number above 0.001; got {limit!r}. The paper has 0.7.")
        super().__init__(None)
        self.side, self.prior, self.beta, self.limit = side, prior, beta, limit
        if prior == "log-normal":
            self.prior_mean, self.prior_log_sigma = nn.Parameter(torch.zeros(())), nn.Parameter(torch.zeros(()))
        self._divergence: Tensor | None = None

    def alpha(self, source: Tensor) -> Tensor:
        """Returns the size of the noise, in (0.001, limit), in at least float32."""
        side = self.side(source)
        return LEAST + (self.limit - LEAST) * side.to(wide(side)).sigmoid()

    def forward(self, input: Tensor, source: Tensor | None = None) -> Tensor:
        """Returns the input with noise in training, sized by `source`; the input itself in eval."""
        if not isinstance(input, Tensor):
            return recorded(self, input, source)
        key = self.key(input)
        if key is None:
            return input
        alpha = self.alpha(input if source is None else source)
        if torch.is_grad_enabled():  # a recomputation has to run the same operations
            divergence = self._divergence_of(input, alpha)
            self._divergence = divergence if self.counts() else self._divergence
        return _drop(key, input, alpha)

    def _divergence_of(self, x: Tensor, alpha: Tensor) -> Tensor:
        if self.prior == "log-uniform":
            each = log_uniform(alpha, self.limit).expand(x.shape)
        else:
            dtype = wide(x)
            each = log_normal(x.to(dtype), alpha.to(dtype), self.prior_mean.to(dtype), self.prior_log_sigma.to(dtype).exp())
        return each.sum() / (x.shape[0] if x.ndim else 1)

    def penalty(self, samples: int) -> Tensor:
        """Returns beta / N times the mean divergence of the last training pass."""
        if self._divergence is None:
            rule = "penalty must be read after a training pass (training mode, with gradients); none was made"
            raise RuntimeError(f"InformationDropout: {rule}. Call model(x) first.")
        return self.beta / samples * self._divergence

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the graph, which can neither be copied nor pickled."""
        return super().__getstate__() | {"_divergence": None}

    def extra_repr(self) -> str:
        return f"prior={self.prior!r}, beta={self.beta:g}, limit={self.limit:g}"


METHODS = (Method(FACTS, InformationDropout, information_dropout, lambda x: information_dropout(x, 0.5, training=True)),)
