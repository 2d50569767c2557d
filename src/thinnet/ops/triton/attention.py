"""Launches the Triton kernels of `thinnet::attention`."""

from typing import Any

import torch
import triton
from torch import Tensor
from triton.runtime.errors import OutOfResources

from thinnet.ops.attention.settings import COLUMNS, RENORMALISED, Settings
from thinnet.ops.triton.attention_gradients import keys_kernel, queries_kernel
from thinnet.ops.triton.attention_kernels import forward_kernel, whole_kernel

# a launch takes options that the signature of a kernel does not have
KERNELS: dict[str, Any] = {each.__name__: each for each in (whole_kernel, forward_kernel, queries_kernel, keys_kernel)}
# How a kernel runs, fastest first: the rows of queries of a program, its warps, and how many loads are under way. The first one
# for which a multiprocessor has the memory serves. benchmarks/gpu_attention.py measures them.
LADDER = [{"QUERIES": rows, "num_warps": 4, "num_stages": n} for rows, n in ((64, 3), (64, 2), (64, 1), (32, 1), (16, 1))]
PROGRAMS = dict.fromkeys(KERNELS, LADDER)
_fits: dict[Any, int] = {}  # a kernel and what its memory depends on -> the place of its program
FAR = 1 << 62  # farther than any position


def _three(*tensors: Tensor) -> list[int]:
    """Returns the strides of samples, heads and rows."""
    return [stride for x in tensors for stride in x.stride()[:3]]


def _dense(*tensors: Tensor) -> list[Tensor]:
    """Returns tensors whose last axis is one piece of memory."""
    return [x if x.stride(-1) == 1 else x.contiguous() for x in tensors]


class Launch:
    """What the kernels of one call share.

    Args:
        q, k, v: the tensors of the operation.
        s: its settings.
    """

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, s: Settings) -> None:
        mask = None if s.mask is None else s.mask.view(torch.uint8) if s.mask.dtype == torch.bool else s.mask
        self.q, self.k, self.v, self.mask, self.s = q, k, v, mask, s
        self.samples = q.shape[0] if s.query_starts is None else s.query_starts.numel() - 1
        self.address, self.positions = s[1:7], s[8:10]
        self.mask_strides = (0, 0, 0, 0) if mask is None else mask.stride()
        (self.heads, self.rows, self.width), self.keys = q.shape[1:], k.shape[2]
        single = {"STEP": s.step, "SAMPLE": s.samples, "QUERY": s.first_query, "KEY": s.first_key}
        self.ones = {f"ONE_{name}": value is None or value.numel() == 1 for name, value in single.items()}
        self.kind = {"COLUMNS": bool(s.options & COLUMNS), "MASK": int(mask is not None and mask.dtype == torch.uint8)}
        self.window = -FAR if s.left < 0 else -s.left, FAR if s.right < 0 else s.right
        self.renormalised = bool(s.options & RENORMALISED)
        self.whole = self._whole() if self.renormalised else None

    def _whole(self) -> Tensor:
        """Returns which queries keep every key, `(B, H, T)`."""
        s = self.s
        whole = self.q.new_zeros(self.q.shape[:3], dtype=torch.int32)
        tensors = whole, self.mask, *self.address, *self.positions, s.query_starts, s.key_starts
        numbers = *self.mask_strides, self.rows, self.keys, self.heads, *self.window
        self._launch("whole_kernel", (*tensors, *numbers), {})
        return whole

    def run(self, kernel: str, tensors: tuple[Any, ...], strides: list[int]) -> None:
        """Launches a kernel."""
        s, widths = self.s, (self.width, self.v.shape[3])
        arguments = (
            *(*tensors, self.whole, self.q, self.k, self.v, self.mask, *self.address, s.head_scale, *self.positions),
            *(s.query_starts, s.key_starts, *strides, *_three(self.q, self.k, self.v), *self.mask_strides),
            *(self.rows, self.keys, *widths, self.heads, self.heads // self.k.shape[1], s.scale, *self.window),
        )
        sizes = zip(("WIDTH", "VALUES"), widths, strict=True)
        constants: dict[str, Any] = {name: max(16, triton.next_power_of_2(size)) for name, size in sizes}
        constants["ONE_SCALE"] = s.head_scale is None or s.head_scale.shape[0] == 1
        self._launch(kernel, arguments, constants | {"RENORMALISED": self.renormalised})

    def _launch(self, kernel: str, arguments: tuple[Any, ...], constants: dict[str, Any]) -> None:
        """Launches the first program for which a multiprocessor has the memory, and keeps in mind which one that is."""
        constants, programs = constants | self.ones | self.kind, PROGRAMS[kernel]
        key = kernel, self.q.dtype, self.q.device, *constants.items()
        for place in range(_fits.get(key, 0), len(programs)):
            try:
                KERNELS[kernel][self.grid(kernel, programs[place]["QUERIES"])](*arguments, **constants, **programs[place])
            except OutOfResources:
                if place + 1 == len(programs):
                    raise
            else:
                _fits[key] = place
                return

    def grid(self, kernel: str, rows: int) -> tuple[int, int, int]:
        """Returns how many programs run: one for a block of queries, a head and a sample, or for 32 keys and their head."""
        if kernel == "keys_kernel":
            return 4 * (triton.cdiv(self.keys, 128) + 1) * self.k.shape[1] * self.samples, 1, 1
        return triton.cdiv(self.rows, rows) * self.heads * self.samples, 1, 1


def attention(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Returns attention and the log-sum-exp of its logits, as ops/attention/reference.py defines them."""
    q, k, v = _dense(q, k, v)
    batch, heads, rows, _ = q.shape
    y = q.new_empty(batch, rows, heads, v.shape[3]).transpose(1, 2)
    lse = q.new_empty(batch, heads, rows, dtype=torch.float32)
    if y.numel():
        launch = Launch(q, k, v, Settings(*rest))
        launch.run("forward_kernel", (y, lse), _three(y))
    return y, lse


def attention_backward(
    dy: Tensor, y: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the gradients in q, k, v and, if asked for, the logits."""
    *settings, of_logits = rest
    dq, dk, dv = (torch.empty_like(x) for x in (q, k, v))
    dz = q.new_zeros((*q.shape[:3], k.shape[2]) if of_logits else (0,), dtype=torch.float32)
    (q, k, v, dy), into = _dense(q, k, v, dy), _dense(dq, dk, dv)
    delta, lse = (dy.float() * y.float()).sum(-1).contiguous(), lse.contiguous()
    launch = Launch(q, k, v, Settings(*settings))
    read = dy, delta, lse
    if q.numel():
        launch.run("queries_kernel", (into[0], dz if of_logits else None, *read), _three(into[0], dy))
    if k.numel():
        launch.run("keys_kernel", (*into[1:], *read), _three(*into[1:], dy))
    for result, made in zip((dq, dk, dv), into, strict=True):
        if result is not made:
            result.copy_(made)
    return dq, dk, dv, dz
