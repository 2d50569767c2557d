"""Shows the Triton kernel to `torch.compile`, so that compiled code launches it without calling Python.

The compiler treats a registered operation as opaque. While it traces a CUDA tensor, this rule replaces the operation by an
allocation and a kernel launch, as `torch.library.triton_op` does. Other layouts, kinds and symbolic shapes stay opaque: the
compiler offers no way to forbid fused multiply-adds, and only `INVERTED` has none to fuse.
"""

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor
from torch.export._trace import custom_triton_ops_decomposition_disabled

from thinnet.ops.reference import NoiseKind
from thinnet.ops.triton import kernels, launch

PLAIN = torch.Tensor, FunctionalTensor


def decompose(mode: Any, op: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Replaces the operation under `FunctionalTensorMode`, where `torch.compile` traces it."""
    if any(each not in PLAIN and not issubclass(each, FakeTensor) for each in types):
        return NotImplemented
    if custom_triton_ops_decomposition_disabled() or not _static(args[0]) or args[-1] & 3 != NoiseKind.INVERTED:
        return mode.__torch_dispatch__(op, types, args, kwargs)
    x, rate, seed, step, site, samples, units, options = args
    if (step is not None and step.ndim == 1) or (samples is not None and not samples.is_contiguous()):
        return mode.__torch_dispatch__(op, types, args, kwargs)
    plan = launch.plan_of(x, x, step, samples, units, options)
    if plan.kernel == "strided_kernel":
        return mode.__torch_dispatch__(op, types, args, kwargs)
    with mode:
        y = torch.empty_like(x)
        kernel: Any = torch.library.wrap_triton(getattr(kernels, plan.kernel))
        kernel[(plan.programs, 1, 1)](y, x, rate, seed, step, site, samples, *plan.numbers, **plan.constants, num_warps=4)
    return y


def _static(x: torch.Tensor) -> bool:
    """Returns whether `x` is on a GPU, contiguous, not empty, and of a shape that is known now."""
    return x.is_cuda and all(type(size) is int for size in x.shape) and x.is_contiguous() and x.numel() > 0
