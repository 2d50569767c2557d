"""Noise and factors of units, and blocks, in Triton: the bits of `elementwise/selection.py` and `spatial/blocks.py`.

Blocks take two kernels. The first draws the seeds and keeps one bit of each: 64 in a word, as 64 units share sixteen blocks of
random bits. The second reads them as rows of a map, 32 positions at once, and applies what they cover to the numbers.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.triton.bits import normal, number, rounded, wide, words
from thinnet.ops.triton.kernels import among, sample_ids, segments_of

SELECT, SCALE, GAUSSIAN, ADDED = tl.constexpr(0), tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)  # what a unit's factor does


@triton.jit(do_not_specialize=["segments", "total", "unit_row", "offset"])
def units_kernel(
    y, x, rate, scale, seed, step, site, samples, units, segments, total, unit_row, offset, rate_row, sizes, strides,
    RULE: tl.constexpr, AXES: tl.constexpr, STEP: tl.constexpr, FIRST: tl.constexpr, ROWS: tl.constexpr, SKIP: tl.constexpr,
    LARGE: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """On rows of consecutive units, by the rule: x scale where uniform noise is at least the rate, else 0; x scale, and 0 where
    the scale is 0; x (1 + scale z); x + scale z.

    Rate and scale follow the `AXES` axes of a row, the innermost first: it repeats one value, or `STEP` is 1. With `SKIP` a row
    may begin inside a segment.
    """
    segment, row, inside = segments_of(segments, total, ROWS, TILE)
    start = offset + row * unit_row
    at = segment.to(tl.int64) * 64
    if SKIP:
        at -= start % 64
    block = ((start // 64 * 16).to(tl.uint32) + segment.to(tl.uint32) * 16)[:, None] + tl.arange(0, 16)[None, :].to(tl.uint32)
    sample = sample_ids(samples, row, inside, FIRST)
    if RULE == SCALE:
        drawn = block, block, block, block
    else:
        drawn = words(block, sample[:, None], number(step), number(site), tl.load(seed))
    for j in tl.static_range(4):
        column = at[:, None] + 16 * j + tl.arange(0, 16)[None, :]
        mask = among(column, units, inside)
        rest = column.to(tl.int64 if LARGE else tl.int32)
        place = (row * rate_row)[:, None]
        if AXES == 1:
            place += rest * STEP
        else:
            place += rest % sizes[0] * STEP
            rest = rest // sizes[0]
            for axis in tl.static_range(1, AXES - 1):
                place += rest % sizes[axis] * strides[axis]
                rest = rest // sizes[axis]
            place += rest * strides[AXES - 1]
        index = (row * units)[:, None] + column
        value = wide(tl.load(x + index, mask=mask, other=0.0))
        factor = tl.load(scale + place, mask=mask, other=0.0)
        if RULE == SELECT:
            u = ((drawn[j] >> 9).to(tl.int32) * 2 + 1).to(tl.float32) * 2.0**-24
            value = tl.where(u >= tl.load(rate + place, mask=mask, other=1.0), value * factor, 0.0)
        elif RULE == SCALE:
            value = tl.where(factor != 0.0, value * factor, 0.0)
        else:
            z = (1.0 + normal(drawn[j])) - 1.0  # as `NoiseKey.normal` rounds it
            value = value * (1.0 + factor * z) if RULE == GAUSSIAN else value + factor * z
        tl.store(y + index, rounded(value, y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["segments", "total", "threshold"])
def seeds_kernel(
    bits, seed, step, site, samples, segments, total, threshold, FIRST: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr
):  # fmt: skip
    """Notes for each unit whether a block begins there: bit i of word s belongs to unit 64 s + i of its row."""
    segment, row, inside = segments_of(segments, total, ROWS, TILE)
    lane = tl.arange(0, 16)
    block = (segment.to(tl.uint32) * 16)[:, None] + lane[None, :].to(tl.uint32)
    sample = sample_ids(samples, row, inside, FIRST)
    drawn = words(block, sample[:, None], number(step), number(site), tl.load(seed))
    word = segment.to(tl.int64) * 0
    for j in tl.static_range(4):
        begins = ((drawn[j] >> 9).to(tl.int32) < threshold).to(tl.int32) << lane[None, :]
        word |= tl.sum(begins, 1).to(tl.int64) << (16 * j)
    tl.store(bits + row * segments + segment, word, mask=inside)


@triton.jit
def covered_by(
    bits, limit, first, layer, line, block, layers, lines, width, block_layers, block_lines, OFFSET: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """Returns 32 positions of a row in a word: whether a block covers them of those that begin `OFFSET` .. `OFFSET` + `WIDTH`
    - 1 positions before.

    Args:
        bits: of the seeds, of which there are `limit` words.
        first: the bit of a map's first seed; `layer` and `line` say which row of the map it is.
        block: which 32 positions of the row.
        layers, lines, width: of the map of seeds; `block_layers` and `block_lines` of a block.
    """
    begin = block * 32 - (OFFSET + WIDTH - 1)  # the place of the first seed that is read, in a row of seeds
    found = (first[:, None] + begin[None, :]).to(tl.uint64) * 0
    for a in range(block_layers):
        for b in range(block_lines):
            i, j = layer - a, line - b
            exists = ((i >= 0) & (i < layers) & (j >= 0) & (j < lines))[:, None]
            bit = (first + (i * lines + j) * width)[:, None] + begin[None, :]
            word, shift = bit >> 6, (bit & 63).to(tl.uint64)
            low = tl.load(bits + word, mask=exists & (word >= 0) & (word < limit), other=0).to(tl.uint64, bitcast=True)
            high = tl.load(bits + word + 1, mask=exists & (word >= -1) & (word < limit - 1), other=0)
            found |= (low >> shift) | ((high.to(tl.uint64, bitcast=True) << 1) << (63 - shift))
    before = tl.maximum(0 - begin, 0)[None, :]
    left = (width - begin)[None, :]
    all_ones = found * 0 - 1
    inside = (all_ones << tl.minimum(before, 63).to(tl.uint64)) & (
        all_ones >> (64 - tl.minimum(tl.maximum(left, 1), 64)).to(tl.uint64)
    )
    found = tl.where((before < 64) & (left > 0), found & inside, all_ones * 0)
    for i in tl.static_range(5):  # the union of shifts doubles its width at each step
        if (1 << i) < WIDTH:
            if (2 << i) <= WIDTH:
                found |= found >> (1 << i)
            else:
                found |= found >> (WIDTH - (1 << i))
    return (found & 0xFFFFFFFF).to(tl.uint32)


@triton.jit(do_not_specialize=["rows", "chunks", "limit", "bit_sample", "bit_channel", "channels", "map_layers", "map_lines",
                               "layers", "lines", "seeds", "block_layers", "block_lines"])  # fmt: skip
def blocks_kernel(
    y, x, scale, bits, rows, chunks, limit, bit_sample, bit_channel, channels, map_layers, map_lines, width, layers, lines,
    seeds, block_layers, block_lines, BLOCK: tl.constexpr, HEIGHT: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """y = x scale where no block covers a position, else 0. A program has some rows of maps; `seeds` fit into one."""
    row = (tl.program_id(0) // chunks).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    block = (tl.program_id(0) % chunks) * WORDS + tl.arange(0, WORDS)
    line, layer, chart = row % map_lines, row // map_lines % map_layers, row // map_lines // map_layers
    first = chart // channels * bit_sample + chart % channels * bit_channel
    covered = tl.zeros((HEIGHT, WORDS), tl.uint32)
    for part in tl.static_range((BLOCK + 31) // 32):
        covered |= covered_by(
            bits, limit, first, layer, line, block, layers, lines, seeds, block_layers, block_lines, 32 * part,
            32 if 32 * part + 32 <= BLOCK else BLOCK - 32 * part,  # pyright: ignore[reportArgumentType]
        )  # fmt: skip
    lane = tl.arange(0, 32)[None, None, :]
    column = (block * 32)[None, :, None] + lane
    mask = (row < rows)[:, None, None] & (column < width)
    number = wide(tl.load(x + (row * width)[:, None, None] + column, mask=mask, other=0.0))
    place = ((layer * map_lines + line) * width)[:, None, None] + column
    value = number * tl.load(scale + place, mask=mask, other=0.0)
    dropped = ((covered[:, :, None] >> lane.to(tl.uint32)) & 1) != 0
    tl.store(y + (row * width)[:, None, None] + column, rounded(tl.where(dropped, 0.0, value), y.dtype.element_ty), mask=mask)
