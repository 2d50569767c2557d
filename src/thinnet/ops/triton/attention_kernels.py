"""Attention with dropout in Triton, forward: a program has a block of queries and goes over the keys."""

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
def whole_kernel(
    whole, mask, rate, seed, step, site, samples, heads, first_query, first_key, query_starts, key_starts,
    m_b, m_h, m_row, m_column, QUERY_ROWS, KEY_ROWS, H, low, high,
    ONE_STEP: tl.constexpr, ONE_SAMPLE: tl.constexpr, ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr, COLUMNS: tl.constexpr,
    MASK: tl.constexpr, QUERIES: tl.constexpr,
):  # fmt: skip
    """Notes the queries that would lose every key that they may attend to; these lose none."""
    block, h, b = program_of(tl.cdiv(QUERY_ROWS, QUERIES), H)
    begin, T, _, S, query, start, batch, sample = sample_of(
        b, query_starts, key_starts, first_query, first_key, samples, QUERY_ROWS, KEY_ROWS, ONE_QUERY, ONE_KEY, ONE_SAMPLE
    )
    rows = block * QUERIES + tl.arange(0, QUERIES)
    positions = query + rows
    key, threshold = head_key(seed, site, heads, h), tl.load(rate)
    kept = tl.zeros((QUERIES, 1), tl.int32)
    zeros = tl.zeros((QUERIES, 16), tl.float32)
    for segment in range(start >> 7, ((start + S - 1) >> 7) + 1):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            masked = None if mask is None else mask + b.to(tl.int64) * m_b + (b * 0 + h).to(tl.int64) * m_h
            live = halves(drawn[j]) >= threshold
            z = logits(zeros, tl.zeros((32, 16), tl.float32), masked, rows, at - start, T, S, positions, at, m_row, m_column,
                       0.0, low, high, live, rows < T, MASK, True)  # fmt: skip  # pyright: ignore[reportArgumentType]
            kept = tl.maximum(kept, tl.max((z > float("-inf")).to(tl.int32), 1)[:, None])  # pyright: ignore[reportArgumentType, reportCallIssue]
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
    k_at = k + batch * k_b + (h // GROUP) * k_h + key_begin * k_row
    v_at = v + batch * v_b + (h // GROUP) * v_h + key_begin * v_row
    most = tl.full((QUERIES,), float("-inf"), tl.float32)
    total, sums = tl.zeros((QUERIES,), tl.float32), tl.zeros((QUERIES, VALUES), tl.float32)
    loses = losing(whole, of_row, rows < T, RENORMALISED)
    first, last = segments_of(start, S, positions, low, high, factor)
    for segment in range(first, last):
        drawn = draw(key, segment, sample, of_sample(step, b, ONE_STEP), positions, COLUMNS)
        for j in tl.static_range(4):
            at = segment * 128 + 32 * j + tl.arange(0, 32)
            columns = (at - start).to(tl.int32)
            kept = halves(drawn[j]) >= threshold
            masked = None if mask is None else mask + b.to(tl.int64) * m_b + (b * 0 + h).to(tl.int64) * m_h
            z = logits(queries, load_rows(k_at, columns, S, D, k_row, d), masked, rows, columns, T, S, positions, at, m_row,
                       m_column, scale, low, high, kept, loses, MASK, RENORMALISED)  # fmt: skip
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
    tl.store(lse + of_row, sum_log, mask=rows < T)
