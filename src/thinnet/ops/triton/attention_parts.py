"""What the kernels of attention share: where a sample and a head are, random bits, logits, and rows of a tensor.

A block of queries meets segments of 128 keys, 32 of them at a time. Sixteen Philox blocks serve a query and a segment: their
words j have the bits of the keys 32 j .. 32 j + 31. A query at position t attends to the positions t + low .. t + high.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.attention import reference
from thinnet.ops.triton.bits import number, words

ATTENTION = tl.constexpr(reference.ATTENTION)
BOOLEAN = tl.constexpr(1)


@triton.jit
def program_of(blocks, heads):
    """Returns the block, the head and the sample of a program. One axis counts all three: the others end at 65535."""
    program = tl.program_id(0)
    return program % blocks, program // blocks % heads, program // blocks // heads


@triton.jit
def of_sample(values, b, ONE: tl.constexpr):
    """Returns the number of a sample: 0 where there are none, or the one of all samples."""
    if values is None:
        return b.to(tl.int64) * 0
    else:
        return tl.load(values + (0 if ONE else b)).to(tl.int64)


@triton.jit
def rows_of(starts, b, size):
    """Returns the first row and the number of rows of a sample."""
    if starts is None:
        return b.to(tl.int64) * 0, b * 0 + size
    else:
        begin = tl.load(starts + b)
        return begin, (tl.load(starts + b + 1) - begin).to(tl.int32)


@triton.jit
def sample_of(
    b, query_starts, key_starts, first_query, first_key, samples, QUERY_ROWS, KEY_ROWS,
    ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, ONE_SAMPLE: tl.constexpr,
):  # fmt: skip
    """Returns first row and number of the queries of a sample, the same of its keys, both first positions, its index and id."""
    begin, T = rows_of(query_starts, b, QUERY_ROWS)
    key_begin, S = rows_of(key_starts, b, KEY_ROWS)
    index = (b if query_starts is None else b * 0).to(tl.int64)
    query, key = of_sample(first_query, b, ONE_QUERY), of_sample(first_key, b, ONE_KEY)
    return begin, T, key_begin, S, query, key, index, of_sample(samples, b, ONE_SAMPLE) + (b if ONE_SAMPLE else 0)


@triton.jit
def segments_of(start, S, positions, low, high, factor):
    """Returns the first segment of keys that some queries attend to and the one behind the last; none for a dropped head."""
    first = tl.maximum(start >> 7, tl.min(positions) + low >> 7)
    last = tl.minimum((start + S - 1) >> 7, tl.max(positions) + high >> 7) + 1
    return first, tl.where(factor == 0.0, first, last)


@triton.jit
def losing(whole, at, inside, RENORMALISED: tl.constexpr):
    """Returns which queries lose the keys that are not kept; one that would lose all loses none."""
    if RENORMALISED:
        return tl.load(whole + at, mask=inside, other=0) == 0
    else:
        return inside


@triton.jit
def head_key(seed, site, heads, h):
    """Returns the subkey of a head, 64 bits."""
    head = h.to(tl.uint32) if heads is None else tl.load(heads + h).to(tl.uint32)
    zero = head * 0
    w0, w1, _, _ = words(head, zero, zero, zero + number(site), tl.load(seed) ^ ATTENTION)
    return w0.to(tl.uint64) | (w1.to(tl.uint64) << 32)


@triton.jit
def head_factor(head_scale, rate, b, h, heads, ONE: tl.constexpr, RENORMALISED: tl.constexpr):
    """Returns the factor of the kept weights of a head; 0 drops it."""
    dropped = tl.load(rate).to(tl.float32)
    factor = tl.where(dropped == 65536.0, 0.0, 65536.0 / tl.maximum(65536.0 - dropped, 1.0))
    if RENORMALISED:
        factor = dropped * 0.0 + 1.0
    if head_scale is None:
        return factor
    else:
        return factor * tl.load(head_scale + (0 if ONE else b) * heads + h)


@triton.jit
def draw(key, segment, sample, step, positions, COLUMNS: tl.constexpr):
    """Returns the four words of the queries at some positions and of a segment of keys, `(queries, 16)` each."""
    block = (segment * 16 + tl.arange(0, 16)).to(tl.uint32)[None, :]
    query = (positions * (0 if COLUMNS else 1)).to(tl.uint32)[:, None]
    zero = block * 0 + query * 0
    return words(zero + block, zero + sample.to(tl.uint32), zero + step.to(tl.uint32), zero + query, key)


@triton.jit
def logits(
    q, k, mask, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, kept, loses,
    MASK: tl.constexpr, RENORMALISED: tl.constexpr,
):  # fmt: skip
    """Returns the logits of queries `rows` and keys `columns`; -inf where a query may not attend, and where DropKey drops."""
    z = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    inside = (rows < T)[:, None] & (columns >= 0)[None, :] & (columns < S)[None, :]
    ahead = at[None, :] - positions[:, None]
    inside &= (ahead >= low) & (ahead <= high)
    if mask is not None:
        at_mask = mask + rows.to(tl.int64)[:, None] * m_row + columns.to(tl.int64)[None, :] * m_column
        value = tl.load(at_mask, mask=inside, other=0)
        if MASK == BOOLEAN:
            inside &= value != 0
        else:
            z += value.to(tl.float32)
    if RENORMALISED:
        inside &= kept | (loses == 0)[:, None]
    return tl.where(inside, z, float("-inf"))


@triton.jit
def load_rows(at, rows, count, width, row, columns):
    """Returns rows of a tensor, zeros behind its end."""
    inside = (rows >= 0)[:, None] & (rows < count)[:, None] & (columns < width)[None, :]
    return tl.load(at + rows[:, None] * row + columns[None, :], mask=inside, other=0.0)
