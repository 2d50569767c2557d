"""Random bits, noise and rules in Triton: the arithmetic of ops/reference.py, operation by operation.

A fused multiply-add would change bits, so every launch sets `enable_fp_fusion=False`.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl
from triton import knobs

from thinnet.ops import reference

ROUNDS = tl.constexpr(reference.ROUNDS)
ALPHA = tl.constexpr(reference.ALPHA)
LOG = tl.constexpr(reference.LOG)
CENTRAL = tl.constexpr(reference.CENTRAL)
TAIL = tl.constexpr(reference.TAIL)

INVERTED = tl.constexpr(int(reference.NoiseKind.INVERTED))
AFFINE = tl.constexpr(int(reference.NoiseKind.ALPHA))
GAUSSIAN = tl.constexpr(int(reference.NoiseKind.GAUSSIAN))
UNIFORM = tl.constexpr(int(reference.NoiseKind.UNIFORM))
INTERPRETED = tl.constexpr(knobs.runtime.interpret)


@triton.jit
def number(pointer):
    """Returns the 32 bits of a part of the address; 0 where there is none."""
    if pointer is None:
        return tl.full((), 0, tl.uint32)
    else:
        return tl.load(pointer).to(tl.uint32)


@triton.jit
def words(block, sample, step, site, seed):
    """Returns the four 32-bit words of blocks; each is as large as `block` and `sample` together."""
    return tl.philox(seed, block, sample, step, site, ROUNDS)


@triton.jit
def polynomial(C: tl.constexpr, TERMS: tl.constexpr, x):
    """Returns the polynomial of six or eight coefficients, lowest power first, by pairs."""
    square = x * x
    low = (C[0] + C[1] * x) + (C[2] + C[3] * x) * square
    high = C[4] + C[5] * x
    if TERMS == 8:
        high = high + (C[6] + C[7] * x) * square
    return low + high * (square * square)


@triton.jit
def normal(word):
    """Returns the standard normal number of each 32-bit word, in float32."""
    twice = ((word >> 1).to(tl.int32).to(tl.float32) + 0.5) * 2.0**-31
    t = twice * (2.0 - twice)
    bits = t.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F2AAAAB) >> 23
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    w = exponent.to(tl.float32) * -0.6931472 + polynomial(LOG, 6, f) * f  # pyright: ignore[reportArgumentType]
    central = polynomial(CENTRAL, 8, w - 3.5)  # pyright: ignore[reportArgumentType]
    tail = polynomial(TAIL, 8, w - 14.0)  # pyright: ignore[reportArgumentType]
    z = tl.where(w < 7.0, central, tail) * (1.0 - twice)
    return tl.where((word & 1) == 1, 0.0 - z, z)


@triton.jit
def uniform(word):
    """Returns the number in (-1, 1) of each 32-bit word, in float32."""
    return ((word >> 9).to(tl.int32) * 2 - 0x7FFFFF).to(tl.float32) * 2.0**-23


@triton.jit
def constants(KIND: tl.constexpr, LINEAR: tl.constexpr, rate):
    """Returns what a kept unit is multiplied by, what is then added, what a dropped unit becomes; or noise's width first."""
    dropped = rate.to(tl.float32)
    kept = 65536.0 - dropped
    zero = dropped * 0.0
    if KIND == INVERTED:
        return tl.where(kept == 0.0, 0.0, tl.div_rn(zero + 65536.0, kept)), zero, zero
    elif KIND == GAUSSIAN:
        return tl.sqrt_rn(tl.div_rn(dropped, kept)), zero, zero
    elif KIND == UNIFORM:
        return tl.sqrt_rn(tl.div_rn(3.0 * dropped, kept)), zero, zero
    else:
        p = tl.div_rn(dropped, zero + 65536.0)
        q = tl.div_rn(kept, zero + 65536.0)
        alpha = zero + ALPHA
        a = tl.where(kept == 0.0, 0.0, tl.div_rn(zero + 1.0, tl.sqrt_rn(q * (1.0 + p * (alpha * alpha)))))
        b = a * p * alpha
        if LINEAR:
            return a, zero, zero
        else:
            return a, b, b - a * alpha


@triton.jit
def apply(KIND: tl.constexpr, LINEAR: tl.constexpr, x, random, rate, scale, shift, dropped):
    """Returns `x` with the noise of its random bits, in the dtype of `x`; computed in float32, or float64 where `x` is."""
    number = wide(x)
    if KIND == GAUSSIAN:
        y = number * (1.0 + scale * normal(random)).to(number.dtype)
    elif KIND == UNIFORM:
        y = number * (1.0 + scale * uniform(random)).to(number.dtype)
    else:
        kept = number * scale.to(number.dtype)
        if KIND == AFFINE and not LINEAR:
            kept += shift.to(number.dtype)
        y = tl.where(random >= rate, kept, dropped.to(number.dtype))
    return rounded(y, x.dtype)


@triton.jit
def wide(x):
    """Returns numbers as they are computed with: in float32, or in float64 where they are."""
    if x.dtype == tl.float64:
        return x
    elif INTERPRETED and x.dtype == tl.bfloat16:
        return (x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        return x.to(tl.float32)


@triton.jit
def rounded(y, DTYPE: tl.constexpr):
    """Returns what was computed in the dtype of the memory, rounded to nearest."""
    if INTERPRETED and DTYPE == tl.bfloat16:
        return nearest_bfloat16(y)
    else:
        return y.to(DTYPE)


@triton.jit
def nearest_bfloat16(x):
    """Rounds float32 to nearest, ties to even, as a GPU does by itself; Triton's interpreter cuts the bits off."""
    bits = x.to(tl.uint32, bitcast=True)
    upper = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(x == x, upper, 0x7FC0).to(tl.uint16).to(tl.bfloat16, bitcast=True)
