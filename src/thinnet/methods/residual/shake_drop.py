"""ShakeDrop: multiplies a residual branch by random factors, different ones forward and backward."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from thinnet.methods.call import draw_key as key_for
from thinnet.methods.call import no_tensor, rate_on_device
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import real, times, weighted
from thinnet.rng import NoiseKey, Site, rates

Level = Literal["batch", "sample", "channel", "pixel"]
Range = tuple[float, float]
AXES = {"batch": 0, "sample": 1, "channel": 2, "pixel": None}  # number of leading axes that are not shared


def _numbers(shape: Sequence[int], level: str) -> tuple[int, ...]:
    """Returns the shape of alpha, and of beta, for an input of a shape."""
    own = AXES[level]
    return tuple(shape) if own is None else (*shape[:own], *(1,) * (len(shape) - own))


def _noise_shape(shape: Sequence[int], level: str = "sample", **_: object) -> tuple[int, int]:
    """Returns the shape of the noise: a row per sample with b first, then its alphas, then its betas."""
    numbers = torch.Size(_numbers(shape, level))
    rows = 1 if level == "batch" else shape[0]
    return rows, 1 + 2 * (numbers.numel() // rows if rows else 0)


def _factors(shape: Sequence[int], u: Tensor, p: Any, level: str, alpha: Range, beta: Range) -> tuple[Tensor, Tensor]:
    """Returns the factors of the input, forward and backward."""
    numbers, half = _numbers(shape, level), u.shape[1] // 2
    kept = (u[:, 0] >= p).reshape(-1, *(1,) * (len(shape) - 1))
    shaken = (
        low + (high - low) * part.reshape(numbers)
        for (low, high), part in ((alpha, u[:, 1 : half + 1]), (beta, u[:, half + 1 :]))
    )
    forward, backward = (torch.where(kept, 1.0, factor) for factor in shaken)
    return forward, backward


def definition(
    x: Tensor,
    u: Tensor,
    p: float,
    level: str = "sample",
    alpha: Range = (-1.0, 1.0),
    beta: Range = (0.0, 1.0),
) -> Tensor:
    """Returns a tensor with the value of the forward factor times x and the derivative of the backward factor."""
    forward, backward = _factors(x.shape, u, p, level, alpha, beta)
    return x * backward + (x * (forward - backward)).detach()


def _mean(x: Tensor, p: Any, level: str = "sample", alpha: Range = (-1.0, 1.0), beta: Range = (0.0, 1.0)) -> Tensor:
    return weighted(1 - p + p * sum(alpha) / 2, x).to(x.dtype)


def _variance(x: Tensor, p: float, level: str = "sample", alpha: Range = (-1.0, 1.0), beta: Range = (0.0, 1.0)) -> Tensor:
    low, high = alpha
    square = 1 - p + p * (low * low + low * high + high * high) / 3
    return x * x * (square - (1 - p + p * (low + high) / 2) ** 2)


FACTS = Facts(
    expected_drop=lambda p, **_: 0.0,
    mean=_mean,
    variance=_variance,
    definition=definition,
    noise="uniform",
    noise_shape=_noise_shape,
    independent=False,
    in_eval=_mean,
)


class _Shake(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
        return times(x, forward)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[2])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        return times(gradients[0], ctx.saved_tensors[0]), None, None


class _ShakeBoth(_Shake):
    """Applies the backward factor in forward mode too, which the compiler does not trace."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        _Shake.setup_context(ctx, inputs, output)
        ctx.save_for_forward(inputs[2])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return times(tangents[0], ctx.saved_tensors[0])


def _shake(key: NoiseKey, x: Tensor, level: str, alpha: Range, beta: Range) -> Tensor:
    u = key.uniform(_noise_shape(x.shape, level))
    shake = _Shake if torch.compiler.is_compiling() else _ShakeBoth
    return shake.apply(x, *_factors(x.shape, u, key.p, level, alpha, beta))


def _check(function: str, level: object, **ranges: Any) -> None:
    if level not in AXES:
        raise ValueError(f"{function}: level must be one of {', '.join(AXES)}; got {level!r}. 'sample' is common.")
    for name, pair in ranges.items():
        ends = [real(end) for end in pair] if isinstance(pair, (tuple, list)) else []
        if len(ends) != 2 or not -float("inf") < ends[0] <= ends[1] < float("inf"):
            raise ValueError(f"{function}: {name} must be two finite numbers, low <= high; got {pair!r}. Try (0.0, 1.0).")


def shake_drop(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    level: Level = "sample",
    alpha: Range = (-1.0, 1.0),
    beta: Range = (0.0, 1.0),
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `ShakeDrop`.

    Args:
        x: `(N, C, ...)`, the output of the branch.
        training: whether to shake; (1 - p + p E[alpha]) x is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> shake_drop(torch.ones(3), 0.5, training=False)
    tensor([0.5000, 0.5000, 0.5000])
    """
    if not isinstance(x, Tensor):
        return no_tensor(shake_drop, locals())
    _check("shake_drop", level, alpha=alpha, beta=beta)
    key = key_for("shake_drop", x, p, training, generator)
    if key is None:
        return _mean(x, rate_on_device("shake_drop", p, x.device).double() / rates.RESOLUTION, level, alpha)
    return _shake(key, x, level, alpha, beta)


class ShakeDrop(Site):
    """Multiplies a residual branch's output by a random factor with probability p, and its gradient by another one.

        y = (b + alpha - b alpha) x forward,  dx = (b + beta - b beta) dy backward
        b ~ Bernoulli(1 - p),  alpha and beta uniform in their ranges

    In eval it multiplies by the expected factor, 1 - p + p E[alpha].

    Noise shape: b per batch (level "batch") or sample; alpha and beta per batch, sample, channel or element.
    Use when: last on the residual branches of deep image networks that train for long, such as PyramidNet and ResNeXt.
    Avoid when: branches do not end in batch normalisation, or training is short.
    Start with: p growing linearly with depth to 0.5; alpha in (-1, 1), beta in (0, 1).
    Cost: one number b and two factors per unit of the level. The backward factors are stored: at level "pixel" as many as the
        input has elements.
    Other implementations: the authors' Lua code and ports of it. They draw one b for the batch even if alpha is per sample.
        Here b is per sample except at level "batch", so no sample's noise depends on its batch.

    Args:
        p: probability that a branch is shaken, rounded to 1/65536.
        level: what has its own alpha and beta: the "batch", a "sample", a "channel" of a sample, or an element ("pixel"). b is
            one for the batch at level "batch", as published, and one per sample at the others.
        alpha: range of the forward factor.
        beta: range of the backward factor.

    Shapes: `(N, C, ...)`; the output has the shape of the input.

    Raises: ValueError if `p` is not in [0, 1], `level` is none of the four, or a range is not two numbers in order.

    Source: Yamada, Iwamura, Akiba, Kise 2018, arXiv:1802.02375.

    >>> x, branch, shake = torch.ones(4, 6), torch.nn.Linear(6, 6), ShakeDrop(0.5)
    >>> (x + shake(branch(x))).shape
    torch.Size([4, 6])
    """

    surrogate_gradient = True  # backward differs from forward by design

    def __init__(
        self,
        p: float | None = 0.5,
        *,
        level: Level = "sample",
        alpha: Range = (-1.0, 1.0),
        beta: Range = (0.0, 1.0),
    ) -> None:
        _check("ShakeDrop", level, alpha=alpha, beta=beta)
        super().__init__(p)
        self.level, self.alpha, self.beta = level, alpha, beta

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x, batch=None if self.level == "batch" else 0)
        if key is None:
            return _mean(x, rates.count(self.p or 0.0) / rates.RESOLUTION, self.level, self.alpha)
        return _shake(key, x, self.level, self.alpha, self.beta)

    def extra_repr(self) -> str:
        return f"p={self.p}, level={self.level!r}, alpha={self.alpha}, beta={self.beta}"


METHODS = (Method(FACTS, ShakeDrop, shake_drop, lambda x: shake_drop(x[None, None], 1.0, level="pixel", training=True)[0, 0]),)
