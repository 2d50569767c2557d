"""Three kernels: for memory along the units, along runs of elements with the same noise, and for any strides.

The grid counts programs along one axis. Places are 64-bit numbers, block numbers 32-bit ones. Triton compiles a kernel anew for
numbers that are 1 or divisible by 16; here only for those that say how memory may be read.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.triton.bits import GAUSSIAN, apply, constants, number, words


@triton.jit
def sample_ids(samples, row, inside, FIRST: tl.constexpr):
    """Returns the 32 bits of the sample of each row: none, counted from the first id, or looked up."""
    if samples is None:
        return row.to(tl.uint32) * 0
    elif FIRST:
        return (tl.load(samples) + row).to(tl.uint32)
    else:
        return tl.load(samples + row, mask=inside, other=0).to(tl.uint32)


@triton.jit
def segments_of(segments, total, ROWS: tl.constexpr, TILE: tl.constexpr):
    """Returns the segments of a program, counted in their rows, the rows, and whether they are among all `total`."""
    segment = tl.program_id(0) * TILE + tl.arange(0, TILE)
    inside = segment < total
    row = segment.to(tl.int64) * 0
    if ROWS:
        row = (segment // segments).to(tl.int64)
        segment = segment % segments
    return segment, row, inside


@triton.jit(do_not_specialize=["unit_row", "sample_row", "segments", "total", "full", "offset"])
def segments_kernel(
    y, x, rate, seed, step, site, samples, x_row, y_row, unit_row, sample_row, units, segments, total, full, offset,
    KIND: tl.constexpr, LINEAR: tl.constexpr, FIRST: tl.constexpr, ROWS: tl.constexpr, SKIP: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """Rows of consecutive units in consecutive memory. A program handles whole segments, so a block serves all its units.

    `segments` a row and `total`; the first `full` of them need no mask. With `SKIP` a row may begin inside a segment.
    """
    WIDTH: tl.constexpr = 16 if KIND >= GAUSSIAN else 32
    SEGMENT: tl.constexpr = 4 * WIDTH
    segment, row, inside = segments_of(segments, total, ROWS, TILE)
    at = segment.to(tl.int64) * SEGMENT
    block = segment.to(tl.uint32) * 16
    start = offset + row * unit_row
    block += (start // SEGMENT * 16).to(tl.uint32)
    if SKIP:
        at -= start % SEGMENT
    sample = sample_ids(samples, row * sample_row, inside, FIRST)
    column = at[:, None] + tl.arange(0, WIDTH)[None, :]
    whole = tl.program_id(0) * TILE + TILE <= full
    values = load_words(x + (row * x_row)[:, None] + column, column, units, inside, whole, WIDTH)
    block = block[:, None] + tl.arange(0, 16)[None, :].to(tl.uint32)
    drawn = words(block, sample[:, None], number(step), number(site), tl.load(seed))
    threshold = tl.load(rate)
    scale, shift, dropped = constants(KIND, LINEAR, threshold)
    y_at = y + (row * y_row)[:, None] + column
    for j in tl.static_range(4):
        random = drawn[j] if KIND >= GAUSSIAN else halves(drawn[j])
        result = apply(KIND, LINEAR, values[j], random, threshold, scale, shift, dropped)
        if whole:
            tl.store(y_at + WIDTH * j, result)
        else:
            tl.store(y_at + WIDTH * j, result, mask=among(column + WIDTH * j, units, inside))


@triton.jit
def among(column, units, inside):
    """Returns which places of segments are units of their row."""
    return (column < units) & (column >= 0) & inside[:, None]


@triton.jit
def load_words(at, column, units, inside, whole, WIDTH: tl.constexpr):
    """Returns what the units of each of the four words find in memory, before anything else is done."""
    if whole:
        v0, v1, v2, v3 = tl.load(at), tl.load(at + WIDTH), tl.load(at + 2 * WIDTH), tl.load(at + 3 * WIDTH)
    else:
        v0 = tl.load(at, mask=among(column, units, inside))
        v1 = tl.load(at + WIDTH, mask=among(column + WIDTH, units, inside))
        v2 = tl.load(at + 2 * WIDTH, mask=among(column + 2 * WIDTH, units, inside))
        v3 = tl.load(at + 3 * WIDTH, mask=among(column + 3 * WIDTH, units, inside))
    return v0, v1, v2, v3


@triton.jit
def halves(word):
    """Returns the 16-bit halves of 32-bit words, the lower half first."""
    return tl.interleave((word & 0xFFFF).to(tl.int32), (word >> 16).to(tl.int32))


@triton.jit
def random_of(KIND: tl.constexpr, unit, sample, step, site, seed):
    """Returns the 16 random bits, or the word of noise, of each unit: one block for each."""
    if KIND >= GAUSSIAN:
        block, j = (unit >> 6 << 4) + (unit & 15), (unit >> 4) & 3
    else:
        block, j = (unit >> 7 << 4) + ((unit >> 1) & 15), (unit >> 5) & 3
    w0, w1, w2, w3 = words(block.to(tl.uint32), sample, step, site, seed)
    word = tl.where(j < 2, tl.where(j == 0, w0, w1), tl.where(j == 2, w2, w3))
    if KIND >= GAUSSIAN:
        return word
    else:
        return ((word >> ((unit & 1) << 4).to(tl.uint32)) & 0xFFFF).to(tl.int32)


@triton.jit(
    do_not_specialize=["unit_a", "unit_b", "sample_a", "sample_b", "size_b", "rows", "chunks", "offset"],
)
def runs_kernel(
    y, x, rate, seed, step, site, samples, x_a, x_b, y_a, y_b, unit_a, unit_b, sample_a, sample_b, size_b, rows, inner, chunks,
    offset, KIND: tl.constexpr, LINEAR: tl.constexpr, FIRST: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Rows, counted by two axes, whose `inner` elements lie side by side and have the same noise."""
    program = tl.program_id(0)
    row = program // chunks * HEIGHT + tl.arange(0, HEIGHT)
    column = (program % chunks).to(tl.int64) * WIDTH + tl.arange(0, WIDTH)
    inside = row < rows
    a, b = (row // size_b).to(tl.int64), (row % size_b).to(tl.int64)
    sample = sample_ids(samples, a * sample_a + b * sample_b, inside, FIRST)
    random = random_of(KIND, offset + a * unit_a + b * unit_b, sample, number(step), number(site), tl.load(seed))
    threshold = tl.load(rate)
    scale, shift, dropped = constants(KIND, LINEAR, threshold)
    mask = inside[:, None] & (column < inner)[None, :]
    value = tl.load(x + (a * x_a + b * x_b)[:, None] + column[None, :], mask=mask)
    result = apply(KIND, LINEAR, value, random[:, None], threshold, scale, shift, dropped)
    tl.store(y + (a * y_a + b * y_b)[:, None] + column[None, :], result, mask=mask)


@triton.jit(do_not_specialize=["sizes", "unit_strides", "sample_strides", "count", "offset"])
def strided_kernel(
    y, x, rate, seed, step, site, samples, sizes, x_strides, y_strides, unit_strides, sample_strides, count, offset,
    KIND: tl.constexpr, LINEAR: tl.constexpr, FIRST: tl.constexpr, LARGE: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Any strides: the elements in the order of the memory of `y`, innermost axis first, each with a block of its own."""
    rest = tl.program_id(0).to(tl.int64 if LARGE else tl.int32) * BLOCK + tl.arange(0, BLOCK)
    mask = rest < count
    row = rest.to(tl.int64) * 0
    x_at, y_at, unit = row, row, row + offset
    for axis in tl.static_range(len(sizes)):
        i = (rest % sizes[axis]).to(tl.int64)
        rest = rest // sizes[axis]
        x_at += i * x_strides[axis]
        y_at += i * y_strides[axis]
        unit += i * unit_strides[axis]
        row += i * sample_strides[axis]
    sample = sample_ids(samples, row, mask, FIRST)
    random = random_of(KIND, unit, sample, number(step), number(site), tl.load(seed))
    threshold = tl.load(rate)
    scale, shift, dropped = constants(KIND, LINEAR, threshold)
    value = tl.load(x + x_at, mask=mask)
    tl.store(y + y_at, apply(KIND, LINEAR, value, random, threshold, scale, shift, dropped), mask=mask)
