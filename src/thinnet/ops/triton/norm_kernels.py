"""Dropout, a residual and a normalisation in one pass: a program has a row. `fused/reference.py` defines the results.

A row is four parts in registers, those of the four words of each block: part j holds the units 32 j .. 32 j + 31 of each
segment. Where the rows do not begin with a segment, each unit draws a block of its own.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.triton.bits import INVERTED, number, rounded, wide, words
from thinnet.ops.triton.chain_kernels import dropped, rate_of
from thinnet.ops.triton.kernels import halves, random_of, sample_ids


@triton.jit
def columns_of(SEGMENTS: tl.constexpr):
    """Returns the places of the first part of a row."""
    return (tl.arange(0, SEGMENTS) * 128)[:, None] + tl.arange(0, 32)[None, :]


@triton.jit
def parts(at, column, width):
    """Returns the four parts of a row in memory, zero behind its end."""
    return (
        wide(tl.load(at + column, mask=column < width, other=0.0)),
        wide(tl.load(at + column + 32, mask=column + 32 < width, other=0.0)),
        wide(tl.load(at + column + 64, mask=column + 64 < width, other=0.0)),
        wide(tl.load(at + column + 96, mask=column + 96 < width, other=0.0)),
    )


@triton.jit
def bits_of(row, column, width, sample_rows, seed, step, site, samples, FIRST: tl.constexpr, ALIGNED: tl.constexpr,
            SEGMENTS: tl.constexpr):  # fmt: skip
    """Returns the random bits of the four parts of a row."""
    sample = sample_ids(samples, row // sample_rows, True, FIRST)
    first = row % sample_rows * width
    if ALIGNED:
        segment = ((first >> 7).to(tl.uint32) + tl.arange(0, SEGMENTS).to(tl.uint32)) * 16
        block = segment[:, None] + tl.arange(0, 16)[None, :].to(tl.uint32)
        w0, w1, w2, w3 = words(block, sample, number(step), number(site), tl.load(seed))
        return halves(w0), halves(w1), halves(w2), halves(w3)
    else:
        unit, at_step, at_site, key = first + column, number(step), number(site), tl.load(seed)
        return (
            random_of(INVERTED, unit, sample, at_step, at_site, key),
            random_of(INVERTED, unit + 32, sample, at_step, at_site, key),
            random_of(INVERTED, unit + 64, sample, at_step, at_site, key),
            random_of(INVERTED, unit + 96, sample, at_step, at_site, key),
        )


@triton.jit
def summed(part):
    """Returns the sum of a part."""
    return tl.sum(tl.sum(part, 1), 0)


@triton.jit
def moments(h, column, width, epsilon, RMS: tl.constexpr):
    """Returns the mean of a row, or zero, and the inverse of the root of its variance, or mean square, + epsilon."""
    count = tl.cast(width, tl.float32)  # a width of 1 is a constant for the compiler
    mean = 0.0 * count
    if not RMS:
        mean = summed(h[0] + h[1] + h[2] + h[3]) / count
    square = tl.zeros(column.shape, tl.float32)
    for j in tl.static_range(4):
        apart = tl.where(column + 32 * j < width, h[j] - mean, 0.0)
        square += apart * apart
    return mean, 1.0 / tl.sqrt_rn(summed(square) / count + epsilon)


@triton.jit(do_not_specialize=["sample_rows"])
def norm_kernel(
    y, h, x, residual, weight, bias, rate, seed, step, site, samples, width, sample_rows, epsilon,
    RMS: tl.constexpr, FIRST: tl.constexpr, ALIGNED: tl.constexpr, SEGMENTS: tl.constexpr,
):  # fmt: skip
    """h = residual + dropout(x), and y = norm(h) weight + bias; the norm is that of the rounded h."""
    row, column = tl.program_id(0).to(tl.int64), columns_of(SEGMENTS)
    random = bits_of(row, column, width, sample_rows, seed, step, site, samples, FIRST, ALIGNED, SEGMENTS)
    threshold, scale = rate_of(rate)
    xs, residuals, at = parts(x + row * width, column, width), parts(residual + row * width, column, width), h + row * width
    sums = (
        rounded(residuals[0] + dropped(xs[0], random[0], threshold, scale), h.dtype.element_ty),
        rounded(residuals[1] + dropped(xs[1], random[1], threshold, scale), h.dtype.element_ty),
        rounded(residuals[2] + dropped(xs[2], random[2], threshold, scale), h.dtype.element_ty),
        rounded(residuals[3] + dropped(xs[3], random[3], threshold, scale), h.dtype.element_ty),
    )
    for j in tl.static_range(4):
        tl.store(at + column + 32 * j, sums[j], mask=column + 32 * j < width)
    numbers = wide(sums[0]), wide(sums[1]), wide(sums[2]), wide(sums[3])
    mean, inverse = moments(numbers, column, width, epsilon, RMS)
    for j in tl.static_range(4):
        mask = column + 32 * j < width
        value = (numbers[j] - mean) * inverse
        if weight is not None:
            value *= wide(tl.load(weight + column + 32 * j, mask=mask, other=0.0))
        if bias is not None:
            value += wide(tl.load(bias + column + 32 * j, mask=mask, other=0.0))
        tl.store(y + row * width + column + 32 * j, rounded(value, y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows", "chunk", "sample_rows"])
def norm_backward_kernel(
    of_x, of_residual, weight_sums, bias_sums, gradient, h_gradient, h, weight, rate, seed, step, site, samples,
    width, sample_rows, epsilon, rows, chunk,
    RMS: tl.constexpr, FIRST: tl.constexpr, ALIGNED: tl.constexpr, SEGMENTS: tl.constexpr,
):  # fmt: skip
    """The gradients of a chunk of rows, and what the rows add to those of weight and bias."""
    column, program = columns_of(SEGMENTS), tl.program_id(0).to(tl.int64)
    threshold, scale = rate_of(rate)
    zero = tl.zeros(column.shape, tl.float32)
    w0, w1, w2, w3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
    for row in range(program * chunk, tl.minimum(program * chunk + chunk, rows)):
        numbers, slopes = parts(h + row * width, column, width), parts(gradient + row * width, column, width)
        mean, inverse = moments(numbers, column, width, epsilon, RMS)
        n0, n1 = (numbers[0] - mean) * inverse, (numbers[1] - mean) * inverse
        n2, n3 = (numbers[2] - mean) * inverse, (numbers[3] - mean) * inverse
        w0, w1, w2, w3 = w0 + slopes[0] * n0, w1 + slopes[1] * n1, w2 + slopes[2] * n2, w3 + slopes[3] * n3
        b0, b1, b2, b3 = b0 + slopes[0], b1 + slopes[1], b2 + slopes[2], b3 + slopes[3]
        if weight is not None:
            weights = parts(weight, column, width)
            slopes = slopes[0] * weights[0], slopes[1] * weights[1], slopes[2] * weights[2], slopes[3] * weights[3]
        along = summed(slopes[0] * n0 + slopes[1] * n1 + slopes[2] * n2 + slopes[3] * n3) / tl.cast(width, tl.float32)
        middle = 0.0 * along
        if not RMS:
            middle = summed(slopes[0] + slopes[1] + slopes[2] + slopes[3]) / tl.cast(width, tl.float32)
        normals = n0, n1, n2, n3
        random = bits_of(row, column, width, sample_rows, seed, step, site, samples, FIRST, ALIGNED, SEGMENTS)
        for j in tl.static_range(4):
            mask, at = column + 32 * j < width, row * width + column + 32 * j
            total = (slopes[j] - middle - normals[j] * along) * inverse
            if h_gradient is not None:
                total += wide(tl.load(h_gradient + at, mask=mask, other=0.0))
            tl.store(of_residual + at, rounded(total, of_residual.dtype.element_ty), mask=mask)
            tl.store(of_x + at, rounded(dropped(total, random[j], threshold, scale), of_x.dtype.element_ty), mask=mask)
    of_weight, of_bias = (w0, w1, w2, w3), (b0, b1, b2, b3)
    for j in tl.static_range(4):
        mask, at = column + 32 * j < width, program * width + column + 32 * j
        tl.store(weight_sums + at, of_weight[j], mask=mask)
        tl.store(bias_sums + at, of_bias[j], mask=mask)
