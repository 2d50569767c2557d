"""Max-pooling dropout: drops units before a max-pooling."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor, rate_on_device
from thinnet.methods.facts import Facts, Method
from thinnet.methods.numbers import weighted
from thinnet.rng import NoiseKey, Site, rates

Size = int | tuple[int, ...]


def sizes(function: str, name: str, value: Size, dims: int, least: int) -> tuple[int, ...]:
    """Returns a pooling argument for each axis of the map, or raises a ValueError."""
    each = (value,) * dims if isinstance(value, int) else tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(each) != dims or not all(type(size) is int and size >= least for size in each):
        rule = f"an integer from {least} up" + (f", or {dims} of them" if dims > 1 else "")
        raise ValueError(f"{function}: {name} must be {rule}; got {value!r}. See torch.nn.MaxPool{dims}d.")
    return each


def checked(function: str, dims: int, kernel_size: Size, stride: Size | None, padding: Size) -> tuple[tuple[int, ...], ...]:
    """Returns kernel, stride and padding for each axis of the map."""
    kernel = sizes(function, "kernel_size", kernel_size, dims, 1)
    step = kernel if stride is None else sizes(function, "stride", stride, dims, 1)
    edge = sizes(function, "padding", padding, dims, 0)
    if any(2 * outside > side for outside, side in zip(edge, kernel, strict=True)):
        raise ValueError(f"{function}: padding must be at most half of kernel_size {kernel}; got {edge}. Use less padding.")
    return kernel, step, edge


def windows(x: Tensor, kernel: tuple[int, ...], step: tuple[int, ...], edge: tuple[int, ...], outside: float) -> Tensor:
    """Returns the units of each window of `(N, C, ...)` in the last axis; `outside` is the padding value."""
    x = F.pad(x, [side for outside in reversed(edge) for side in (outside, outside)], value=outside)
    for axis, (size, stride) in enumerate(zip(kernel, step, strict=True), 2):
        x = x.unfold(axis, size, stride)
    return x.flatten(-len(kernel))


def _weighted(x: Tensor, p: float | Tensor, pool: tuple[tuple[int, ...], ...], power: int = 1) -> Tensor:
    """Returns the expectation of a power of the training output: a sum over the ranked values of a window."""
    ranked = windows(x, *pool, outside=-torch.inf).sort(dim=-1, descending=True).values
    units = windows(torch.ones_like(x[:1, :1]), *pool, outside=0.0).sum(-1)
    rank = torch.arange(ranked.shape[-1], device=x.device)
    above, below = ranked.clamp(min=0), ranked[..., 0].clamp(max=0)
    if power != 1:
        above, below = above**power, below**power
    return weighted((1 - p) * p**rank, above).sum(-1) + weighted((1 - p) ** units, below)


def expected(x: Tensor, p: float, kernel_size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """Returns the expectation of the training output: the output in eval."""
    return _weighted(x, p, checked("max_pool_dropout", x.ndim - 2, kernel_size, stride, padding))


def variance(x: Tensor, p: float, kernel_size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """Returns the variance of the training output."""
    pool = checked("max_pool_dropout", x.ndim - 2, kernel_size, stride, padding)
    return _weighted(x, p, pool, power=2) - _weighted(x, p, pool) ** 2


def definition(x: Tensor, u: Tensor, p: float, kernel_size: Size = 2, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """Returns the maximum of each window after dropping (u < p counts as zero)."""
    pool = checked("max_pool_dropout", x.ndim - 2, kernel_size, stride, padding)
    return windows(torch.where(u >= p, x, 0), *pool, outside=-torch.inf).amax(-1)


FACTS = Facts(
    mean=expected,
    variance=variance,
    definition=definition,
    in_eval=expected,
)

POOLS: dict[int, Callable[..., Tensor]] = {1: F.max_pool1d, 2: F.max_pool2d}


def _pool(key: NoiseKey | None, x: Tensor, p: Tensor, pool: tuple[tuple[int, ...], ...], function: str) -> Tensor:
    """Returns the maximum of the kept units of each window; without a key, its expectation."""
    dims = len(pool[0])
    if x.ndim != 2 + dims:
        axes = "(N, C, L)" if dims == 1 else "(N, C, H, W)"
        raise ValueError(f"{function}: x must be {axes}; got shape {tuple(x.shape)}. Add a batch axis with x.unsqueeze(0).")
    p = p.to(x.dtype if x.dtype == torch.float64 else torch.float32).reshape(1)
    if key is not None:
        kept = key.apply_noise(x * (1 - p)).to(x.dtype)  # scaled down first: no overflow
        return POOLS[dims](kept, *pool)
    y = _weighted(x, p, pool).to(x.dtype)
    images = dims == 2 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return y.contiguous(memory_format=torch.channels_last) if images else y


def _functional(dims, x, p, kernel_size, stride, padding, training, generator) -> Tensor:
    function = f"max_pool_dropout{dims}d"
    pool = checked(function, dims, kernel_size, stride, padding)
    key = draw_key(function, x, p, training, generator)
    rate = rate_on_device(function, p, x.device) if key is None else key.rate
    return _pool(key, x, rate.double() / rates.RESOLUTION, pool, function)


def max_pool_dropout1d(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    kernel_size: Size = 2,
    stride: Size | None = None,
    padding: Size = 0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `MaxPoolDropout1d`.

    Args:
        x: `(N, C, L)`.
        training: whether to drop; the expectation is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> x = torch.tensor([[[1.0, 4.0, 2.0]]])
    >>> max_pool_dropout1d(x, 0.5, kernel_size=3, training=False).item()  # 4 / 2 + 2 / 4 + 1 / 8
    2.625
    """
    if not isinstance(x, Tensor):
        return no_tensor(max_pool_dropout1d, locals())
    return _functional(1, x, p, kernel_size, stride, padding, training, generator)


def max_pool_dropout2d(
    x: Tensor,
    p: float | Tensor = 0.5,
    *,
    kernel_size: Size = 2,
    stride: Size | None = None,
    padding: Size = 0,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `MaxPoolDropout2d`. The arguments are those of `max_pool_dropout1d`, with `x` of shape `(N, C, H, W)`.

    >>> x = torch.tensor([[[[1.0, 4.0], [0.0, 2.0]]]])
    >>> max_pool_dropout2d(x, 0.5, kernel_size=2, training=False).item()  # 4 / 2 + 2 / 4 + 1 / 8
    2.625
    """
    if not isinstance(x, Tensor):
        return no_tensor(max_pool_dropout2d, locals())
    return _functional(2, x, p, kernel_size, stride, padding, training, generator)


class _MaxPoolDropout(Site):
    dims: int

    def __init__(self, p: float = 0.5, kernel_size: Size = 2, stride: Size | None = None, padding: Size = 0) -> None:
        super().__init__(p)
        pool = checked(type(self).__name__, self.dims, kernel_size, stride, padding)
        self.kernel_size, self.stride, self.padding = pool

    def drop(self, x: Tensor) -> Tensor:
        rate = self._rate(x.device).double() / rates.RESOLUTION
        return _pool(self.key(x), x, rate, (self.kernel_size, self.stride, self.padding), type(self).__name__)

    def extra_repr(self) -> str:
        return f"p={self.p}, kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPoolDropout1d(_MaxPoolDropout):
    """Drops units before max-pooling in training; in eval returns the exact expectation. Replaces a max-pooling layer.

        training:  y = max over the window of x m,  m ~ Bernoulli(1 - p)
        eval:      y = sum over i of q p^(i-1) max(b_i, 0) + q^n min(b_1, 0),  q = 1 - p

    b_1 >= ... >= b_n are the units of a window. b_i is the largest kept unit with probability q p^(i-1). After a ReLU, eval is
    the probability-weighted pooling of the paper. A dropped unit counts as 0, so the maximum is negative only if all units are
    negative and kept: the last term. Kept units are not scaled.

    Noise shape: one decision per element.
    Use when: in place of max-pooling after a ReLU.
    Avoid when: windows are large or overlap much: the maximum of many kept units is nearly the maximum of all.
    Start with: p = 0.5.
    Cost: dropout before the pooling; in eval a copy and a sort of each window.
    Other implementations: none known. torch.nn.Dropout before torch.nn.MaxPool2d scales by 1 / (1 - p), so its output in eval
        is too large.

    Args:
        p: probability that a unit is dropped, rounded to 1/65536.
        kernel_size: size of a window.
        stride: step between windows; `kernel_size` if None.
        padding: number of positions added at each edge. They are never the maximum.

    Shapes: `(N, C, L)` to `(N, C, L')`, as `torch.nn.MaxPool1d`.

    Raises: ValueError if `p` is not in [0, 1], a size is not an integer in its range, or the input has other axes.

    Source: Wu and Gu 2015, arXiv:1512.00242.

    >>> MaxPoolDropout1d(0.5, 2)(torch.randn(2, 3, 8)).shape
    torch.Size([2, 3, 4])
    """

    dims = 1


class MaxPoolDropout2d(_MaxPoolDropout):
    """`MaxPoolDropout1d` for images, `(N, C, H, W)`. Replaces a max-pooling layer.

    Args:
        kernel_size, stride, padding: as in `torch.nn.MaxPool2d`: a number, or one for each axis.

    Shapes: `(N, C, H, W)` to `(N, C, H', W')`, as `torch.nn.MaxPool2d`.

    >>> MaxPoolDropout2d(0.5, 2)(torch.randn(2, 3, 8, 6)).shape
    torch.Size([2, 3, 4, 3])
    """

    dims = 2


METHODS = (
    Method(FACTS, MaxPoolDropout1d, max_pool_dropout1d, title="Max-pooling dropout"),
    Method(
        FACTS,
        MaxPoolDropout2d,
        max_pool_dropout2d,
        lambda x: max_pool_dropout2d(x[None, None], 0.5, training=True)[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1),
    ),
)
