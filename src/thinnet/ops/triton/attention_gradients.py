"""Attention with dropout in Triton, backward: the gradient of q, and the gradients of k and v.

A program of the first has a block of queries and goes over the keys; one of the second has 32 keys and goes over the queries.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.triton.attention_parts import (
    draw,
    head_factor,
    head_key,
    load_rows,
    logits,
    losing,
    of_sample,
    program_of,
    sample_of,
    segments_of,
)
from thinnet.ops.triton.kernels import halves


@triton.jit
def differentiated(z, kept, lse, dy, values, delta, factor, RENORMALISED: tl.constexpr):
    """Returns the weights behind the noise and the gradient of the logits, `(queries, 32)` each."""
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
    block, h, b = program_of(tl.cdiv(QUERY_ROWS, QUERIES), H)
    begin, T, key_begin, S, query, start, batch, sample = sample_of(
        b, query_starts, key_starts, first_query, first_key, samples, QUERY_ROWS, KEY_ROWS, ONE_QUERY, ONE_KEY, ONE_SAMPLE
    )
    rows = block * QUERIES + tl.arange(0, QUERIES)
    if block * QUERIES >= T:
        return
    positions, of_row = query + rows, (batch * H + h) * QUERY_ROWS + begin + rows
    key, threshold = head_key(seed, site, heads, h), tl.load(rate)
    factor = head_factor(head_scale, rate, b, h, H, ONE_SCALE, RENORMALISED)
    d, e = tl.arange(0, WIDTH), tl.arange(0, VALUES)
    queries = load_rows(q + batch * q_b + h * q_h + begin * q_row, rows, T, D, q_row, d)
    gradient = load_rows(dy + batch * dy_b + h * dy_h + begin * dy_row, rows, T, E, dy_row, e)
    k_at = k + batch * k_b + (h // GROUP) * k_h + key_begin * k_row
    v_at = v + batch * v_b + (h // GROUP) * v_h + key_begin * v_row
    sum_log = tl.load(lse + of_row, mask=rows < T, other=0.0)
    product = tl.load(delta + of_row, mask=rows < T, other=0.0)
    sums = tl.zeros((QUERIES, WIDTH), tl.float32)
    loses = losing(whole, of_row, rows < T, RENORMALISED)
    first, last = segments_of(start, S, positions, low, high, factor)
    for segment in range(first, last):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            columns = (at - start).to(tl.int32)
            masked = None if mask is None else mask + b.to(tl.int64) * m_b + (b * 0 + h).to(tl.int64) * m_h
            keys = load_rows(k_at, columns, S, D, k_row, d)
            kept = halves(drawn[j]) >= threshold
            z = logits(queries, keys, masked, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, kept,
                       loses, MASK, RENORMALISED)  # fmt: skip
            values = load_rows(v_at, columns, S, E, v_row, e)
            _, slope = differentiated(z, kept, sum_log, gradient, values, product, factor, RENORMALISED)
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
    block, kv, b = program_of(4 * (tl.cdiv(KEY_ROWS, 128) + 1), H // GROUP)
    begin, T, key_begin, S, query, start, batch, sample = sample_of(
        b, query_starts, key_starts, first_query, first_key, samples, QUERY_ROWS, KEY_ROWS, ONE_QUERY, ONE_KEY, ONE_SAMPLE
    )
    j = block % 4
    segment = (start >> 7) + block // 4
    at = segment * 128 + 32 * j + tl.arange(0, 32)
    columns = (at - start).to(tl.int32)
    if tl.min(columns) >= S:
        return
    if tl.max(columns) < 0:  # pyright: ignore[reportOperatorIssue]
        return
    d, e = tl.arange(0, WIDTH), tl.arange(0, VALUES)
    keys = load_rows(k + batch * k_b + kv * k_h + key_begin * k_row, columns, S, D, k_row, d)
    values = load_rows(v + batch * v_b + kv * v_h + key_begin * v_row, columns, S, E, v_row, e)
    of_keys, of_values = tl.zeros((32, WIDTH), tl.float32), tl.zeros((32, VALUES), tl.float32)
    threshold = tl.load(rate)
    for h in range(kv * GROUP, kv * GROUP + GROUP):
        factor = head_factor(head_scale, rate, b, h, H, ONE_SCALE, RENORMALISED)
        key = head_key(seed, site, heads, b * 0 + h)
        masked = None if mask is None else mask + b.to(tl.int64) * m_b + (b * 0 + h).to(tl.int64) * m_h
        for of_queries in range(0, tl.where(factor == 0.0, 0, tl.cdiv(T, QUERIES))):
            rows = of_queries * QUERIES + tl.arange(0, QUERIES)
            positions = query + rows
            if (tl.max(at) >= tl.min(positions) + low) & (tl.min(at) <= tl.max(positions) + high):
                w0, w1, w2, w3 = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
                kept = halves(tl.where(j < 2, tl.where(j == 0, w0, w1), tl.where(j == 2, w2, w3))) >= threshold
                queries = load_rows(q + batch * q_b + h * q_h + begin * q_row, rows, T, D, q_row, d)
                gradient = load_rows(dy + batch * dy_b + h * dy_h + begin * dy_row, rows, T, E, dy_row, e)
                of_row = (batch * H + h) * QUERY_ROWS + begin + rows
                sum_log = tl.load(lse + of_row, mask=rows < T, other=0.0)
                product = tl.load(delta + of_row, mask=rows < T, other=0.0)
                loses = losing(whole, of_row, rows < T, RENORMALISED)
                z = logits(queries, keys, masked, rows, columns, T, S, positions, at, m_row, m_column, scale, low, high, kept,
                           loses, MASK, RENORMALISED)  # fmt: skip
                noisy, slope = differentiated(z, kept, sum_log, gradient, values, product, factor, RENORMALISED)
                of_values += tl.dot(tl.trans(noisy).to(gradient.dtype), gradient, input_precision="ieee")
                of_keys += tl.dot(tl.trans(slope).to(queries.dtype), queries, input_precision="ieee")
    inside = (columns >= 0)[:, None] & (columns < S)[:, None]
    dk_at = dk + batch * dk_b + kv * dk_h + key_begin * dk_row + columns[:, None] * dk_row + d[None, :]
    dv_at = dv + batch * dv_b + kv * dv_h + key_begin * dv_row + columns[:, None] * dv_row + e[None, :]
    tl.store(dk_at, (of_keys * scale).to(dk.dtype.element_ty), mask=inside & (d < D)[None, :])
    tl.store(dv_at, of_values.to(dv.dtype.element_ty), mask=inside & (e < E)[None, :])
