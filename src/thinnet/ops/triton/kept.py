"""The units with the smallest numbers, in ascending order, in Triton: a program for each group, and no sort.

Positive floats have the order of their bits. The bound, one of the numbers, is found bit by bit: 30 counts. Units below it are
kept, and as many of those that equal it as are missing, in the order of the units.
"""

# pyright: reportGeneralTypeIssues=false, reportAssignmentType=false, reportOperatorIssue=false
# (in a kernel, Triton's compiler and not Python says what these mean)

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from thinnet.ops.kept import in_order
from thinnet.ops.triton.launch import Plan, launch

MOST = 16384  # units of a program; two counts of them share an integer


@triton.jit
def below(key, bound, count):
    """Returns which keys are the `count` smallest, where `bound` is the largest of these."""
    equal = key == bound
    missing = count - tl.sum((key < bound).to(tl.int32), 0)
    return (key < bound) | (equal & (tl.cumsum(equal.to(tl.int32), 0) <= missing))


@triton.jit(do_not_specialize=["units", "width", "whole"])
def smallest_kernel(kept, live, numbers, units, width, whole, more, BLOCK: tl.constexpr):
    """Writes the `width` units with the smallest numbers, and whether each is among the `whole` smallest, or one more."""
    group, unit = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    at = numbers + group * (units + 1)
    key = tl.load(at + unit, mask=unit < units, other=float("inf")).to(tl.int32, bitcast=True)
    alive = whole + (tl.load(at + units) < more).to(tl.int32)
    bound, live_bound, bit = alive * 0, alive * 0, alive * 0 + (1 << 29)  # the highest one of numbers below 1
    for _ in range(30):
        next_bound, next_live = bound | bit, live_bound | bit
        counts = tl.sum((key < next_bound).to(tl.int32) + ((key < next_live).to(tl.int32) << 16), 0)
        bound = tl.where((counts & 0xFFFF) < width, next_bound, bound)
        live_bound = tl.where((counts >> 16) < alive, next_live, live_bound)
        bit = bit >> 1
    chosen = below(key, bound, width) & (unit < units)
    place = group * width + tl.cumsum(chosen.to(tl.int32), 0) - 1
    tl.store(kept + place, unit.to(tl.int64), mask=chosen)
    tl.store(live + place, below(key, live_bound, alive).to(tl.uint8), mask=chosen)


kernels: dict[str, Any] = {"smallest_kernel": smallest_kernel}


def smallest(numbers: Tensor, width: int, whole: int, more: float) -> tuple[Tensor, Tensor]:
    """Returns the units with the smallest numbers, `(groups, width)`, ascending, and whether each of them is kept."""
    groups, units = numbers.shape[0], numbers.shape[1] - 1
    if units > MOST:
        return in_order(numbers, width, whole, more)
    kept = torch.empty(groups, width, dtype=torch.int64, device=numbers.device)
    live = torch.empty(groups, width, dtype=torch.bool, device=numbers.device)
    if kept.numel() == 0:
        return kept, live

    def plan() -> Plan:
        block = triton.next_power_of_2(units)
        warps = min(16, max(1, block // 256))
        return Plan(kernels["smallest_kernel"], groups, (units, width, whole, more), {"BLOCK": block}, warps)

    layout = "smallest", numbers.shape, width, whole, more
    launch((kept, live.view(torch.uint8), numbers.contiguous()), layout, plan)
    return kept, live
