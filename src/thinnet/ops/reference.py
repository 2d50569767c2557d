"""Defines the bits, in plain PyTorch, on any device.

The random bits of a unit are a pure function of its address `(seed, site, step, sample, unit)`:

    words = philox4x32_7(counter=(block, sample, step, site), key=seed)

Units `128 s + 32 j + 2 l + h` take the 16-bit half `h` of word `j` of block `16 s + l`; continuous noise takes whole words,
unit `64 s + 16 j + l` word `j` of block `16 s + l`. Every faster path agrees with this file, bit by bit.
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3": 7 rounds are the fewest that pass BigCrush.
"""

from enum import IntEnum
from typing import TypeAlias

import torch
from torch import Tensor

ROUNDS = 7
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
WORD = 0xFFFFFFFF
ALPHA = 1.7580993408473766  # -lambda * alpha of SELU, with its sign turned

# Minimax polynomials, lowest power first: -log(1 + f) / f for |f| <= 1/3, and z / (1 - 2 v) as a function of
# w = -log(4 v (1 - v)), v the tail of z, for w < 7 (around 3.5) and beyond (around 14).
LOG = (-1.0000229, 0.50006473, -0.33160722, 0.2472176, -0.23073845, 0.20171344)
CENTRAL = (
    *(2.464737, 0.33285218, -0.0095093185, -0.0006855669),
    *(0.00022915259, -2.1138769e-05, -1.360266e-06, 3.5906297e-07),
)
TAIL = (
    *(5.061595, 0.19061698, -0.0033500616, 0.000114999326),
    *(-4.9471305e-06, 2.36753e-07, -7.704266e-09, -1.2813293e-11),
)


class NoiseKind(IntEnum):
    """What random bits do to a number."""

    INVERTED = 0  # kept: x / (1 - p); dropped: 0
    ALPHA = 1  # kept: a x + b; dropped: a alpha' + b, so that mean and variance stay those of a SELU network
    GAUSSIAN = 2  # every unit: x (1 + sqrt(p / (1 - p)) z), z standard normal
    UNIFORM = 3  # every unit: x (1 + sqrt(3 p / (1 - p)) r), r uniform in (-1, 1)

    @property
    def continuous(self) -> bool:
        """Whether every unit is multiplied by noise of a 32-bit word. Otherwise 16 bits keep or drop it."""
        return self >= NoiseKind.GAUSSIAN


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Returns the four 32-bit words of Philox4x32 with 7 rounds, as int64 in 0 .. 2^32 - 1.

    Args: `counter`, four words; `key`, two words; int64 tensors that broadcast.

    >>> zero = torch.zeros((), dtype=torch.int64)
    >>> [f"{int(word):08x}" for word in philox((zero, zero, zero, zero), (zero, zero))]
    ['5f6fb709', '0d893f64', '4f121f81', '4f730a48']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]  # int64 wraps; the low 64 bits are exact
        c0, c1, c2, c3 = (
            ((product1 >> 32) & WORD) ^ c1 ^ k0,
            product1 & WORD,
            ((product0 >> 32) & WORD) ^ c3 ^ k1,
            product0 & WORD,
        )
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


def blocks(seed: Tensor, step: Tensor, site: Tensor, samples: Tensor, first: int, count: int) -> Tensor:
    """Returns the words of `count` segments of sixteen blocks from segment `first` on, `(samples, count, j, l)`."""
    block = torch.arange(16 * first, 16 * (first + count), device=seed.device)
    key = (seed & WORD, (seed >> 32) & WORD)
    words = philox((block, samples[:, None] & WORD, step & WORD, site & WORD), key)
    return torch.stack(words, dim=-1).unflatten(1, (count, 16)).transpose(2, 3)


def unit_bits(seed: Tensor, step: Tensor, site: Tensor, samples: Tensor, count: int, first: int = 0) -> Tensor:
    """Returns the 16 random bits of units `first .. first + count - 1` of each sample, `(samples, count)` in 0 .. 65535."""
    start, stop = first // 128, -(-(first + count) // 128)
    words = blocks(seed, step, site, samples, start, stop - start)
    halves = torch.stack((words & 0xFFFF, words >> 16), dim=-1).flatten(1)
    return halves[:, first - 128 * start :][:, :count]


def noise(seed: Tensor, step: Tensor, site: Tensor, samples: Tensor, count: int, first: int = 0) -> Tensor:
    """Returns the 32-bit words of continuous noise for the same units, `(samples, count)`."""
    start, stop = first // 64, -(-(first + count) // 64)
    words = blocks(seed, step, site, samples, start, stop - start).flatten(1)
    return words[:, first - 64 * start :][:, :count]


def polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    """Returns the polynomial of six or eight coefficients, lowest power first, by pairs."""
    c, square = coefficients, x * x
    low, high = (c[0] + c[1] * x) + (c[2] + c[3] * x) * square, c[4] + c[5] * x
    high = high if len(c) == 6 else high + (c[6] + c[7] * x) * square
    return low + high * (square * square)


def root(x: Tensor) -> Tensor:
    """Returns the correctly rounded float32 square root, which `x.sqrt()` is not on a CPU: there it may be off by one bit."""
    return x.sqrt() if x.device.type == "mps" else x.double().sqrt().float()


def normal(words: Tensor) -> Tensor:
    """Returns the standard normal number of each 32-bit word, by the inverse of the distribution function, in float32.

    One bit is the sign, 31 are the tail. Products and sums in a fixed order: the same bits everywhere. The error is below 5e-6.
    """
    twice = ((words >> 1).float() + 0.5) * 2.0**-31  # the tail v, doubled
    t = twice * (2 - twice)
    bits = t.view(torch.int32)
    exponent = (bits - 0x3F2AAAAB) >> 23
    f = (bits - (exponent << 23)).view(torch.float32) - 1
    w = exponent.float() * -0.6931472 + polynomial(LOG, f) * f
    z = torch.where(w < 7, polynomial(CENTRAL, w - 3.5), polynomial(TAIL, w - 14)) * (1 - twice)
    return torch.where((words & 1) == 1, 0 - z, z)


def uniform(words: Tensor) -> Tensor:
    """Returns the number in (-1, 1) of each 32-bit word: one of 2^23 odd multiples of 2^-23, exact in float32, never 0."""
    return ((words >> 9) * 2 - 0x7FFFFF).float() * 2.0**-23


def constants(kind: NoiseKind, linear: bool, rate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns what a kept unit is multiplied by, what is then added to it, and what a dropped unit becomes, in float32.

    `rate` counts 65536ths, and the scale is that of the delivered rate: 65536 / (65536 - rate). At rate 1 all are zero.
    """
    dropped = rate.float()
    kept = 65536 - dropped
    zero = torch.zeros_like(kept)
    if kind == NoiseKind.INVERTED:
        return torch.where(kept == 0, 0.0, 65536 / kept), zero, zero
    p, q = dropped / 65536, kept / 65536
    alpha = torch.full_like(kept, ALPHA)
    a = torch.where(kept == 0, 0.0, 1 / root(q * (1 + p * (alpha * alpha))))
    b = a * p * alpha
    return (a, zero, zero) if linear else (a, b, b - a * alpha)


def apply(kind: NoiseKind, linear: bool, x: Tensor, rate: Tensor, drawn: Tensor) -> Tensor:
    """Returns `x` with the noise of its random bits: in float32, or in float64 where `x` is."""
    if kind.continuous:
        drawn = normal(drawn) if kind == NoiseKind.GAUSSIAN else uniform(drawn)
    return selected(kind, linear, x, rate, drawn)


def selected(kind: NoiseKind, linear: bool, x: Tensor, rate: Tensor, drawn: Tensor) -> Tensor:
    """Returns `x` with noise of 16-bit integers, or of numbers of a continuous distribution."""
    number = x if x.dtype in (torch.float64, torch.complex64, torch.complex128) else x.float()
    if kind.continuous:
        dropped = rate.float()
        square = dropped / (65536 - dropped) if kind == NoiseKind.GAUSSIAN else 3 * dropped / (65536 - dropped)
        return number * (1 + root(square) * drawn)
    scale, shift, dropped = (constant.to(number.dtype) for constant in constants(kind, linear, rate))
    kept = number * scale + shift if kind == NoiseKind.ALPHA and not linear else number * scale
    return torch.where(drawn >= rate, kept, dropped)


Where: TypeAlias = tuple[Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]  # rate, seed, step, site, samples


def apply_noise(
    x: Tensor,
    rate: Tensor,
    seed: Tensor,
    step: Tensor | None,
    site: Tensor | None,
    samples: Tensor | None,
    units: list[int],
    offset: int,
    kind: NoiseKind,
    linear: bool,
) -> Tensor:
    """Applies noise to `x`. Each element reads the random bits of its sample (axis 0, if `samples` is given) and its unit.

    The unit of element `(i, j, ...)` is `offset + i * units[0] + j * units[1] + ...`. Elements along an axis of stride 0
    have the same noise. With a 1-d `step`, axis 0 counts steps, and the samples are on the axis behind it.
    """
    if x.numel() == 0:
        return x.clone()
    zero = torch.zeros((), dtype=torch.int64, device=x.device)
    lead = int(step is not None and step.ndim == 1)
    rows = x.shape[lead] if samples is not None else 1
    ids = zero.expand(1) if samples is None else samples
    if ids.numel() == 1:
        ids = ids + torch.arange(rows, device=x.device)
    if step is not None and lead:
        ids, step = ids.repeat(len(step)), step.repeat_interleave(rows)[:, None]
    count = 1 + sum((size - 1) * stride for size, stride in zip(x.shape, units, strict=True))
    stream = noise if kind.continuous else unit_bits
    drawn = stream(seed.reshape(()), zero if step is None else step, zero if site is None else site, ids, count, offset)
    strides = list(units) if samples is None else [*units[:lead], count, *units[lead + 1 :]]
    strides = [rows * count, *strides[1:]] if lead else strides
    y = apply(kind, linear, x, rate, drawn.contiguous().as_strided(x.shape, strides))
    return torch.empty_like(x, requires_grad=False).copy_(y)  # in the memory format of x, whatever the order of work
