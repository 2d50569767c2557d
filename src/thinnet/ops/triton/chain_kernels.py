"""Dropout and its elementwise neighbours in one pass, as `fused/reference.py` defines them."""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.triton.activations import RELU_RESULT, curve
from thinnet.ops.triton.bits import INVERTED, constants, number, rounded, wide, words
from thinnet.ops.triton.kernels import among, halves, sample_ids, segments_of


@triton.jit
def rate_of(rate):
    """Returns the threshold of random bits, and the scale of what they keep."""
    threshold = tl.load(rate)
    scale, _, _ = constants(INVERTED, True, threshold)  # pyright: ignore[reportArgumentType]
    return threshold, scale


@triton.jit
def dropped(x, random, threshold, scale):
    """Returns the kept numbers, scaled; the others are selected to zero."""
    return tl.where(random >= threshold, x * scale, 0.0)


@triton.jit
def drawn_of(segment, row, inside, rate, seed, step, site, samples, FIRST: tl.constexpr):
    """Returns the words of segments of units, and the threshold and the scale of the rate."""
    block = (segment.to(tl.uint32) * 16)[:, None] + tl.arange(0, 16)[None, :].to(tl.uint32)
    sample = sample_ids(samples, row, inside, FIRST)
    threshold, scale = rate_of(rate)
    return words(block, sample[:, None], number(step), number(site), tl.load(seed)), threshold, scale


@triton.jit
def gathered(x, ids, index, mask, width, table):
    """Returns numbers of a tensor, or of the rows of a table that ids pick; nan where there is no such row."""
    if ids is None:
        return wide(tl.load(x + index, mask=mask, other=0.0))
    else:
        picked = tl.load(ids + index // width, mask=mask, other=-1)
        there = (picked >= 0) & (picked < table)
        return wide(tl.load(x + picked * width + index % width, mask=there, other=float("nan")))


@triton.jit
def biased(z, bias, index, mask, period, REPEATS: tl.constexpr):
    """Returns z + bias, which is as large as the tensor, or repeats in it."""
    if bias is None:
        return z
    elif REPEATS:
        return z + wide(tl.load(bias + index % period, mask=mask, other=0.0))
    else:
        return z + wide(tl.load(bias + index, mask=mask, other=0.0))


@triton.jit(do_not_specialize=["segments", "total", "table"])
def chain_kernel(
    y, x, ids, bias, gate, residual, rate, seed, step, site, samples, units, segments, total, width, period, table,
    ACTIVATION: tl.constexpr, REPEATS: tl.constexpr, FIRST: tl.constexpr, ROWS: tl.constexpr, LARGE: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """y = residual + dropout(activation(x + bias) gate), on rows of units as segments_kernel has them."""
    segment, row, inside = segments_of(segments, total, ROWS, TILE)
    drawn, threshold, scale = drawn_of(segment, row, inside, rate, seed, step, site, samples, FIRST)
    column = (segment.to(tl.int64) * 128)[:, None] + tl.arange(0, 32)[None, :]
    begin = (row * units)[:, None]
    for j in tl.static_range(4):
        index = (begin + column + 32 * j).to(tl.int64 if LARGE else tl.int32)
        mask = among(column + 32 * j, units, inside)
        z = biased(gathered(x, ids, index, mask, width, table), bias, index, mask, period, REPEATS)
        value, _ = curve(z, ACTIVATION)
        if gate is not None:
            value *= wide(tl.load(gate + index, mask=mask, other=0.0))
        value = dropped(value, halves(drawn[j]), threshold, scale)
        if residual is not None:
            value = wide(tl.load(residual + index, mask=mask, other=0.0)) + value
        tl.store(y + index, rounded(value, y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["segments", "total"])
def chain_backward_kernel(
    of_z, of_gate, gradient, x, bias, gate, rate, seed, step, site, samples, units, segments, total, period,
    ACTIVATION: tl.constexpr, REPEATS: tl.constexpr, FIRST: tl.constexpr, ROWS: tl.constexpr, LARGE: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """The gradients of x + bias and of the gate. With `RELU_RESULT`, `x` is the result, which is positive where kept."""
    segment, row, inside = segments_of(segments, total, ROWS, TILE)
    if ACTIVATION == RELU_RESULT:
        drawn = segment, segment, segment, segment
        threshold, scale = rate_of(rate)
    else:
        drawn, threshold, scale = drawn_of(segment, row, inside, rate, seed, step, site, samples, FIRST)
    column = (segment.to(tl.int64) * 128)[:, None] + tl.arange(0, 32)[None, :]
    begin = (row * units)[:, None]
    for j in tl.static_range(4):
        index = (begin + column + 32 * j).to(tl.int64 if LARGE else tl.int32)
        mask = among(column + 32 * j, units, inside)
        slope = wide(tl.load(gradient + index, mask=mask, other=0.0))
        at = wide(tl.load(x + index, mask=mask, other=0.0))
        if ACTIVATION == RELU_RESULT:
            slope = tl.where(at <= 0.0, 0.0, slope * scale)
        else:
            slope = dropped(slope, halves(drawn[j]), threshold, scale)
            value, steep = curve(biased(at, bias, index, mask, period, REPEATS), ACTIVATION)
            if gate is not None:
                tl.store(of_gate + index, rounded(slope * value, of_gate.dtype.element_ty), mask=mask)
                slope *= wide(tl.load(gate + index, mask=mask, other=0.0))
            slope *= steep
        tl.store(of_z + index, rounded(slope, of_z.dtype.element_ty), mask=mask)
