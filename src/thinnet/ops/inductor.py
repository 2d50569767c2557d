"""Gives `torch.compile` a form of `INVERTED` noise that it fuses with the operations around it, on CUDA.

Inductor lowers the operation to two expressions: one draws a bit for each unit, a second reads the bits wherever elements are
computed anyway. Forward and backward draw again from the key, so nothing is kept for backward. Until then autograd, the
partitioner, activation checkpointing and caches see one operation, and not the hundred of a Philox block.

Why bits in memory, and not a block computed by each element: instructions an element on Hopper, bfloat16, counted in the code
that `tests/triton_compiled.py` compiles:

    a copy                                                2
    a block for each element, shared by two neighbours   30   where the compiler finds them; else 60, as with sample ids
    bits: 7 to draw, shared by eight, and 14 to read     21   up to 24 with sample ids and shared axes
    nn.Dropout of PyTorch 2.13, shared by four           34   and a byte an element written, kept for backward and read

The bits cost n / 8 bytes while they are read, and a launch. On a CPU the C++ kernel wins: there the operation stays whole.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sympy
import torch
from torch import float32, int32, int64, uint32, uint64
from torch._inductor.ir import Pointwise
from torch._inductor.lowering import fallback_handler, register_lowering
from torch._inductor.virtualized import V, ops
from torch.utils._sympy import functions as symbolic

from thinnet.ops.arguments import unit_strides
from thinnet.ops.reference import MULTIPLIERS, ROUNDS, WEYL, NoiseKind

DEVICES = {"cuda"}
SEGMENT = 128  # units of sixteen blocks
WORDS = 4  # of bits, each of four blocks

Value = Any  # of Inductor: one number for each element of a kernel
FloorDiv: Any = symbolic.FloorDiv  # SymPy's classes have no types for arithmetic
ModularIndexing: Any = symbolic.ModularIndexing


@cache
def register(op: Any) -> None:
    """Registers the lowering of `thinnet::apply_noise`, once for a process."""
    kernel = fallback_handler(op, add_to_fallback_set=False)

    def lower(x: Any, *rest: Any) -> Any:
        fused = x.get_device().type in DEVICES and x.get_numel() != 0
        # `ALPHA` adds: the compiler contracts its product and sum, which changes bits. Continuous noise has many of both.
        return _noised(x, *rest) if fused and rest[-1] & 3 == NoiseKind.INVERTED else kernel(x, *rest)

    register_lowering(op, type_promotion_kind=None)(lower)


def _noised(x: Any, rate: Any, seed: Any, step: Any, site: Any, samples: Any, units: Sequence[Any], _: int) -> Any:
    """Returns the expression `x * scale` where the unit is kept, otherwise 0."""
    size, dtype = x.get_size(), x.get_dtype()
    own = int(step is not None and len(step.get_size()) == 1) + int(samples is not None)
    strides, offset = (units[:-1], units[-1]) if units else (unit_strides(size, (), own), 0)
    first, start = FloorDiv(offset, SEGMENT), ModularIndexing(offset, 1, SEGMENT)
    last = sympy.expand(start + sum((n - 1) * stride for n, stride in zip(size, strides, strict=True)))
    rows = [*size[:own], WORDS * (FloorDiv(last, SEGMENT) + 1)]
    bits = _drawn(rate, seed, step, site, samples, first * WORDS, rows)
    load, load_bits, wide = x.make_loader(), bits.make_loader(), dtype if dtype == torch.float64 else float32

    def noised(index: Sequence[Any]) -> Value:
        unit = start + sum(i * stride for i, stride in zip(index, strides, strict=True))
        word = load_bits([*index[:own], FloorDiv(unit, SEGMENT) * WORDS + ModularIndexing(unit, 8, WORDS)])
        value = ops.mul(ops.to_dtype(load(index), wide), ops.to_dtype(_scale(_number(rate)), wide))
        return ops.to_dtype(ops.where(_bit(word, ops.index_expr(unit, int32)), value, ops.constant(0.0, wide)), dtype)

    return Pointwise.create(device=x.get_device(), dtype=dtype, inner_fn=noised, ranges=size)


def _bit(word: Value, unit: Value) -> Value:
    """Returns whether the unit is kept: byte j of its word holds eight consecutive units."""
    byte = ops.bitwise_and(ops.bitwise_right_shift(unit, ops.constant(2, int32)), ops.constant(24, int32))
    place = ops.bitwise_or(byte, ops.bitwise_and(unit, ops.constant(7, int32)))
    bit = ops.bitwise_and(ops.bitwise_right_shift(word, place), ops.constant(1, int32))
    return ops.ne(bit, ops.constant(0, int32))


def _drawn(rate: Any, seed: Any, step: Any, site: Any, samples: Any, first: Any, size: list[Any]) -> Any:
    """Returns the bits, 32 in a word: bit 8 j + 2 i + h of word q says whether half h of word j of block 4 q + i is kept."""

    def drawn(index: Sequence[Any]) -> Value:
        *rows, word = index
        sample = ops.constant(0, int64) if samples is None else _sample(samples, rows[-1])
        address = _word(sample), _word(_number(step, rows)), _word(_number(site))
        key, threshold = _number(seed), _number(rate)
        block = _word(ops.index_expr(4 * (first + word), int64))
        bits = ops.constant(0, int32)
        for i in range(4):
            # without the bitwise operation Inductor takes what follows for a place in memory, and its wrapping away
            counter = ops.bitwise_or(block, ops.constant(i, uint32)), *address
            for j, random in enumerate(_philox(counter, (_word(key), _high(key, int64)))):
                for h in range(2):
                    bits = ops.bitwise_or(bits, _flag(random, h, threshold, 8 * j + 2 * i + h))
        return bits

    bits = Pointwise.create(device=seed.get_device(), dtype=int32, inner_fn=drawn, ranges=size)
    bits.realize()
    return bits


def _flag(random: Value, h: int, threshold: Value, place: int) -> Value:
    """Returns the bit at a place where half h of the random bits is kept, otherwise 0."""
    half = ops.bitwise_and(ops.bitwise_right_shift(random, ops.constant(16 * h, uint32)), ops.constant(0xFFFF, uint32))
    bit = 1 << place if place < 31 else -(1 << 31)
    return ops.where(ops.ge(ops.to_dtype(half, int32), threshold), ops.constant(bit, int32), ops.constant(0, int32))


def _number(number: Any, rows: Sequence[Any] = ()) -> Value:
    """Returns a part of the address: a tensor of one element, or of one for each step; 0 where there is none."""
    return ops.constant(0, int64) if number is None else number.make_loader()(rows[: len(number.get_size())])


def _sample(samples: Any, row: Any) -> Value:
    """Returns the id of a row, counted from the first where there is one id only."""
    load, size = samples.make_loader(), samples.get_size()
    if all(V.graph.sizevars.statically_known_equals(n, 1) for n in size):
        return ops.add(load([0] * len(size)), ops.index_expr(row, int64))
    return load([row])


def _scale(rate: Value) -> Value:
    """Returns 65536 / (65536 - rate) in float32, rounded to nearest; anything where all units are dropped.

    Triton's quotient is off by up to two units in the last place. What is left over, an integer, says by how many.
    """
    whole, one = ops.constant(65536.0, float32), ops.constant(1, int32)
    kept = ops.maximum(ops.sub(ops.constant(65536, int32), ops.to_dtype(rate, int32)), one)
    near = ops.truediv(whole, ops.to_dtype(kept, float32))
    code = ops.to_dtype_bitcast(near, int32, float32)
    digits = ops.bitwise_or(ops.bitwise_and(code, ops.constant(0x7FFFFF, int32)), ops.constant(0x800000, int32))
    exponent = ops.sub(ops.constant(150, int32), ops.bitwise_right_shift(code, ops.constant(23, int32)))
    left = ops.sub(
        ops.bitwise_left_shift(_word(ops.bitwise_left_shift(one, exponent)), ops.constant(16, uint32)),
        ops.mul(_word(digits), _word(kept)),
    )
    share = ops.mul(ops.to_dtype(ops.to_dtype(left, int32), float32), ops.mul(near, ops.constant(2.0**-16, float32)))
    steps = ops.sub(ops.to_dtype(ops.add(share, ops.constant(8.5, float32)), int32), ops.constant(8, int32))
    return ops.to_dtype_bitcast(ops.add(code, steps), float32, int32)


def _philox(counter: tuple[Value, ...], key: tuple[Value, Value]) -> tuple[Value, ...]:
    """Returns the four words of a block, as reference.philox does. A product of 64 bits is one instruction."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = (
            ops.mul(ops.to_dtype(c, uint64), ops.constant(m, uint64)) for c, m in zip((c0, c2), MULTIPLIERS, strict=True)
        )
        c0 = ops.bitwise_xor(ops.bitwise_xor(_high(product1, uint64), c1), k0)
        c2 = ops.bitwise_xor(ops.bitwise_xor(_high(product0, uint64), c3), k1)
        c1, c3 = _word(product1), _word(product0)
        k0, k1 = (_word(ops.add(k, ops.constant(weyl, uint32))) for k, weyl in zip((k0, k1), WEYL, strict=True))
    return c0, c1, c2, c3


def _word(number: Value) -> Value:
    """Returns the lower 32 bits."""
    return ops.to_dtype(number, uint32)


def _high(number: Value, dtype: torch.dtype) -> Value:
    """Returns the upper 32 bits of 64."""
    return _word(ops.bitwise_right_shift(number, ops.constant(32, dtype)))
