"""Attention with dropout in Triton: forward, the gradient of q, and the gradients of k and v.

A program of the first two has a block of queries and goes over segments of 128 keys; one of the third has 32 keys and goes over
queries. Sixteen Philox blocks serve a query and a segment: their words j have the bits of the keys 32 j .. 32 j + 31.
A query at position t attends to the positions t + low .. t + high.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.attention import reference
from thinnet.ops.triton.bits import number, words
from thinnet.ops.triton.kernels import halves

ATTENTION = tl.constexpr(reference.ATTENTION)
BOOLEAN = tl.constexpr(1)


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
def logits(q, k, mask, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, MASK: tl.constexpr):
    """Returns the logits of queries `rows` and keys `columns`; -inf where a query may not attend."""
    z = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    inside = (rows < T)[:, None] & (columns >= 0)[None, :] & (columns < S)[None, :]
    ahead = at[None, :] - positions[:, None]
    inside &= (ahead >= low) & (ahead <= high)
    if mask is not None:
        value = tl.load(mask + rows[:, None] * m_row + columns[None, :] * m_column, mask=inside, other=0)
        if MASK == BOOLEAN:
            inside &= value != 0
        else:
            z += value.to(tl.float32)
    return tl.where(inside, z, float("-inf"))


@triton.jit
def load_rows(at, rows, count, width, row, columns):
    """Returns rows of a tensor, zeros behind its end."""
    inside = (rows >= 0)[:, None] & (rows < count)[:, None] & (columns < width)[None, :]
    return tl.load(at + rows[:, None] * row + columns[None, :], mask=inside, other=0.0)


@triton.jit
def whole_kernel(
    whole, mask, rate, seed, step, site, samples, heads, first_query, first_key, query_starts, key_starts,
    m_b, m_h, m_row, m_column, QUERY_ROWS, KEY_ROWS, H, low, high,
    ONE_STEP: tl.constexpr, ONE_SAMPLE: tl.constexpr, ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, COLUMNS: tl.constexpr,
    MASK: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Notes the queries that would lose every key that they may attend to; these lose none."""
    b, h = tl.program_id(1) // H, tl.program_id(1) % H
    begin, T = rows_of(query_starts, b, QUERY_ROWS)
    _, S = rows_of(key_starts, b, KEY_ROWS)
    batch = (b if query_starts is None else b * 0).to(tl.int64)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    start = of_sample(first_key, b, ONE_KEY)
    positions = of_sample(first_query, b, ONE_QUERY) + rows
    sample = of_sample(samples, b, ONE_SAMPLE) + (b if ONE_SAMPLE else 0)
    key, threshold = head_key(seed, site, heads, h), tl.load(rate)
    kept = tl.zeros((QUERIES, 1), tl.int32)
    zeros = tl.zeros((QUERIES, 16), tl.float32)
    for segment in range(start >> 7, ((start + S - 1) >> 7) + 1):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            masked = None if mask is None else mask + b * m_b + h * m_h
            z = logits(zeros, tl.zeros((32, 16), tl.float32), masked, rows, at - start, T, S, positions, at, m_row, m_column,
                       0.0, low, high, MASK)  # fmt: skip
            lives = (z > float("-inf")) & (halves(drawn[j]) >= threshold)
            kept = tl.maximum(kept, tl.max(lives.to(tl.int32), 1)[:, None])  # pyright: ignore[reportArgumentType, reportCallIssue]
    at_rows = whole + (batch * H + h) * QUERY_ROWS + begin + rows
    tl.store(at_rows[:, None], 1 - kept, mask=(rows < T)[:, None])


@triton.jit
def forward_kernel(
    y, lse, whole, q, k, v, mask, rate, seed, step, site, samples, heads, head_scale, first_query, first_key, query_starts,
    key_starts, y_b, y_h, y_row, q_b, q_h, q_row, k_b, k_h, k_row, v_b, v_h, v_row, m_b, m_h, m_row, m_column,
    QUERY_ROWS, KEY_ROWS, D, E, H, GROUP, scale, low, high,
    ONE_STEP: tl.constexpr, ONE_SAMPLE: tl.constexpr, ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, ONE_SCALE: tl.constexpr,
    RENORMALISED: tl.constexpr, COLUMNS: tl.constexpr, MASK: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr,
    VALUES: tl.constexpr,
):  # fmt: skip
    """A block of queries of one head."""
    b, h = tl.program_id(1) // H, tl.program_id(1) % H
    begin, T = rows_of(query_starts, b, QUERY_ROWS)
    key_begin, S = rows_of(key_starts, b, KEY_ROWS)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    if tl.program_id(0) * QUERIES >= T:
        return
    batch = (b if query_starts is None else b * 0).to(tl.int64)
    start = of_sample(first_key, b, ONE_KEY)
    positions = of_sample(first_query, b, ONE_QUERY) + rows
    sample = of_sample(samples, b, ONE_SAMPLE) + (b if ONE_SAMPLE else 0)
    key, threshold = head_key(seed, site, heads, h), tl.load(rate)
    factor = head_factor(head_scale, rate, b, h, H, ONE_SCALE, RENORMALISED)
    d, e = tl.arange(0, WIDTH), tl.arange(0, VALUES)
    queries = load_rows(q + batch * q_b + h * q_h + begin * q_row, rows, T, D, q_row, d)
    k_at = k + batch * k_b + (h // GROUP) * k_h + key_begin * k_row
    v_at = v + batch * v_b + (h // GROUP) * v_h + key_begin * v_row
    most = tl.full((QUERIES,), float("-inf"), tl.float32)
    total, sums = tl.zeros((QUERIES,), tl.float32), tl.zeros((QUERIES, VALUES), tl.float32)
    lives = positions * 0 == 0
    if RENORMALISED:
        lives = tl.load(whole + (batch * H + h) * QUERY_ROWS + begin + rows, mask=rows < T, other=0) == 0
    first, last = start >> 7, ((start + S - 1) >> 7) + 1
    first, last = tl.maximum(first, tl.min(positions) + low >> 7), tl.minimum(last, (tl.max(positions) + high >> 7) + 1)
    if factor == 0.0:
        last = first
    for segment in range(first, last):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            columns = (at - start).to(tl.int32)
            kept = halves(drawn[j]) >= threshold
            masked = None if mask is None else mask + b * m_b + h * m_h
            z = logits(queries, load_rows(k_at, columns, S, D, k_row, d), masked, rows, columns, T, S, positions, at, m_row,
                       m_column, scale, low, high, MASK)  # fmt: skip
            if RENORMALISED:
                z = tl.where(kept | (lives == 0)[:, None], z, float("-inf"))
            now = tl.maximum(most, tl.max(z, 1))
            base = tl.where(now == float("-inf"), 0.0, now)
            weights, shrink = tl.exp(z - base[:, None]), tl.exp(most - base)
            total = total * shrink + tl.sum(weights, 1)
            if not RENORMALISED:
                weights = tl.where(kept, weights, 0.0)
            values = load_rows(v_at, columns, S, E, v_row, e)
            sums = sums * shrink[:, None] + tl.dot(weights.to(values.dtype), values, input_precision="ieee")
            most = now
    result = sums * (factor / tl.where(total == 0.0, 1.0, total))[:, None]
    inside = (rows < T)[:, None] & (e < E)[None, :]
    y_at = y + batch * y_b + h * y_h + begin * y_row
    tl.store(y_at + rows[:, None] * y_row + e[None, :], result.to(y.dtype.element_ty), mask=inside)
    sum_log = tl.where(total == 0.0, float("-inf"), most + tl.log(tl.where(total == 0.0, 1.0, total)))
    sum_log = tl.where(factor == 0.0, 0.0, sum_log)
    tl.store(lse + (batch * H + h) * QUERY_ROWS + begin + rows, sum_log, mask=rows < T)


@triton.jit
def differentiated(z, kept, lives, lse, dy, values, delta, factor, RENORMALISED: tl.constexpr):
    """Returns the weights behind the noise and the gradient of the logits, `(queries, 32)` each."""
    if RENORMALISED:
        z = tl.where(kept | (lives == 0)[:, None], z, float("-inf"))
    weights = tl.exp(z - tl.where(lse == float("-inf"), 0.0, lse)[:, None])
    gradient = tl.dot(dy, tl.trans(values), input_precision="ieee") * factor
    noisy = weights * factor
    if not RENORMALISED:
        gradient, noisy = tl.where(kept, gradient, 0.0), tl.where(kept, noisy, 0.0)
    return noisy, weights * (gradient - delta[:, None])


@triton.jit
def queries_kernel(
    dq, dz, dy, delta, lse, whole, q, k, v, mask, rate, seed, step, site, samples, heads, head_scale, first_query, first_key,
    query_starts, key_starts, dq_b, dq_h, dq_row, dy_b, dy_h, dy_row, q_b, q_h, q_row, k_b, k_h, k_row, v_b, v_h, v_row,
    m_b, m_h, m_row, m_column, QUERY_ROWS, KEY_ROWS, D, E, H, GROUP, scale, low, high,
    ONE_STEP: tl.constexpr, ONE_SAMPLE: tl.constexpr, ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, ONE_SCALE: tl.constexpr,
    RENORMALISED: tl.constexpr, COLUMNS: tl.constexpr, MASK: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr,
    VALUES: tl.constexpr,
):  # fmt: skip
    """The gradient of a block of queries of one head, and of its logits if asked for."""
    b, h = tl.program_id(1) // H, tl.program_id(1) % H
    begin, T = rows_of(query_starts, b, QUERY_ROWS)
    key_begin, S = rows_of(key_starts, b, KEY_ROWS)
    rows = tl.program_id(0) * QUERIES + tl.arange(0, QUERIES)
    if tl.program_id(0) * QUERIES >= T:
        return
    batch = (b if query_starts is None else b * 0).to(tl.int64)
    start = of_sample(first_key, b, ONE_KEY)
    positions = of_sample(first_query, b, ONE_QUERY) + rows
    sample = of_sample(samples, b, ONE_SAMPLE) + (b if ONE_SAMPLE else 0)
    key, threshold = head_key(seed, site, heads, h), tl.load(rate)
    factor = head_factor(head_scale, rate, b, h, H, ONE_SCALE, RENORMALISED)
    d, e = tl.arange(0, WIDTH), tl.arange(0, VALUES)
    queries = load_rows(q + batch * q_b + h * q_h + begin * q_row, rows, T, D, q_row, d)
    gradient = load_rows(dy + batch * dy_b + h * dy_h + begin * dy_row, rows, T, E, dy_row, e)
    k_at = k + batch * k_b + (h // GROUP) * k_h + key_begin * k_row
    v_at = v + batch * v_b + (h // GROUP) * v_h + key_begin * v_row
    of_row = (batch * H + h) * QUERY_ROWS + begin + rows
    sum_log = tl.load(lse + of_row, mask=rows < T, other=0.0)
    product = tl.load(delta + of_row, mask=rows < T, other=0.0)
    lives = positions * 0 == 0
    if RENORMALISED:
        lives = tl.load(whole + of_row, mask=rows < T, other=0) == 0
    sums = tl.zeros((QUERIES, WIDTH), tl.float32)
    first, last = start >> 7, ((start + S - 1) >> 7) + 1
    first, last = tl.maximum(first, tl.min(positions) + low >> 7), tl.minimum(last, (tl.max(positions) + high >> 7) + 1)
    if factor == 0.0:
        last = first
    for segment in range(first, last):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            columns = (at - start).to(tl.int32)
            masked = None if mask is None else mask + b * m_b + h * m_h
            keys = load_rows(k_at, columns, S, D, k_row, d)
            z = logits(queries, keys, masked, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, MASK)
            values = load_rows(v_at, columns, S, E, v_row, e)
            kept = halves(drawn[j]) >= threshold
            _, slope = differentiated(z, kept, lives, sum_log, gradient, values, product, factor, RENORMALISED)
            sums += tl.dot(slope.to(keys.dtype), keys, input_precision="ieee")
            if dz is not None:
                inside = (rows < T)[:, None] & (columns >= 0)[None, :] & (columns < S)[None, :]
                tl.store(dz + of_row[:, None] * KEY_ROWS + columns[None, :], slope, mask=inside)
    inside = (rows < T)[:, None] & (d < D)[None, :]
    dq_at = dq + batch * dq_b + h * dq_h + begin * dq_row
    tl.store(dq_at + rows[:, None] * dq_row + d[None, :], (sums * scale).to(dq.dtype.element_ty), mask=inside)


@triton.jit
def keys_kernel(
    dk, dv, dy, delta, lse, whole, q, k, v, mask, rate, seed, step, site, samples, heads, head_scale, first_query, first_key,
    query_starts, key_starts, dk_b, dk_h, dk_row, dv_b, dv_h, dv_row, dy_b, dy_h, dy_row, q_b, q_h, q_row, k_b, k_h, k_row,
    v_b, v_h, v_row, m_b, m_h, m_row, m_column, QUERY_ROWS, KEY_ROWS, D, E, H, GROUP, scale, low, high,
    ONE_STEP: tl.constexpr, ONE_SAMPLE: tl.constexpr, ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, ONE_SCALE: tl.constexpr,
    RENORMALISED: tl.constexpr, COLUMNS: tl.constexpr, MASK: tl.constexpr, QUERIES: tl.constexpr, WIDTH: tl.constexpr,
    VALUES: tl.constexpr,
):  # fmt: skip
    """The gradients of 32 keys and values of one head, over all queries of the heads that it serves."""
    key_heads = H // GROUP
    b, kv = tl.program_id(1) // key_heads, tl.program_id(1) % key_heads
    begin, T = rows_of(query_starts, b, QUERY_ROWS)
    key_begin, S = rows_of(key_starts, b, KEY_ROWS)
    batch = (b if query_starts is None else b * 0).to(tl.int64)
    start = of_sample(first_key, b, ONE_KEY)
    j = tl.program_id(0) % 4
    segment = (start >> 7) + tl.program_id(0) // 4
    at = segment * 128 + 32 * j + tl.arange(0, 32)
    columns = (at - start).to(tl.int32)
    if tl.min(columns) >= S:
        return
    if tl.max(columns) < 0:  # pyright: ignore[reportOperatorIssue]
        return
    sample = of_sample(samples, b, ONE_SAMPLE) + (b if ONE_SAMPLE else 0)
    d, e = tl.arange(0, WIDTH), tl.arange(0, VALUES)
    keys = load_rows(k + batch * k_b + kv * k_h + key_begin * k_row, columns, S, D, k_row, d)
    values = load_rows(v + batch * v_b + kv * v_h + key_begin * v_row, columns, S, E, v_row, e)
    of_keys, of_values = tl.zeros((32, WIDTH), tl.float32), tl.zeros((32, VALUES), tl.float32)
    threshold = tl.load(rate)
    for h in range(kv * GROUP, kv * GROUP + GROUP):
        factor = head_factor(head_scale, rate, b, h, H, ONE_SCALE, RENORMALISED)
        key = head_key(seed, site, heads, b * 0 + h)
        masked = None if mask is None else mask + b * m_b + h * m_h
        for block in range(0, tl.where(factor == 0.0, 0, tl.cdiv(T, QUERIES))):
            rows = block * QUERIES + tl.arange(0, QUERIES)
            positions = of_sample(first_query, b, ONE_QUERY) + rows
            if (tl.max(at) >= tl.min(positions) + low) & (tl.min(at) <= tl.max(positions) + high):
                w0, w1, w2, w3 = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
                kept = halves(tl.where(j < 2, tl.where(j == 0, w0, w1), tl.where(j == 2, w2, w3))) >= threshold
                queries = load_rows(q + batch * q_b + h * q_h + begin * q_row, rows, T, D, q_row, d)
                gradient = load_rows(dy + batch * dy_b + h * dy_h + begin * dy_row, rows, T, E, dy_row, e)
                of_row = (batch * H + h) * QUERY_ROWS + begin + rows
                sum_log = tl.load(lse + of_row, mask=rows < T, other=0.0)
                product = tl.load(delta + of_row, mask=rows < T, other=0.0)
                lives = positions * 0 == 0
                if RENORMALISED:
                    lives = tl.load(whole + of_row, mask=rows < T, other=0) == 0
                z = logits(queries, keys, masked, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, MASK)
                noisy, slope = differentiated(z, kept, lives, sum_log, gradient, values, product, factor, RENORMALISED)
                of_values += tl.dot(tl.trans(noisy).to(gradient.dtype), gradient, input_precision="ieee")
                of_keys += tl.dot(tl.trans(slope).to(queries.dtype), queries, input_precision="ieee")
    inside = (columns >= 0)[:, None] & (columns < S)[:, None]
    dk_at = dk + batch * dk_b + kv * dk_h + key_begin * dk_row + columns[:, None] * dk_row + d[None, :]
    dv_at = dv + batch * dv_b + kv * dv_h + key_begin * dv_row + columns[:, None] * dv_row + e[None, :]
    tl.store(dk_at, (of_keys * scale).to(dk.dtype.element_ty), mask=inside & (d < D)[None, :])
    tl.store(dv_at, of_values.to(dv.dtype.element_ty), mask=inside & (e < E)[None, :])
