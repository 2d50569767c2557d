"""Activations and their derivatives in Triton, as ops/csrc/activations.h has them."""

# pyright: reportGeneralTypeIssues=false
# (in a kernel, Triton's compiler and not Python says what these mean)

import triton
import triton.language as tl

from thinnet.ops.fused.reference import Activation

RELU = tl.constexpr(int(Activation.RELU))
GELU = tl.constexpr(int(Activation.GELU))
GELU_TANH = tl.constexpr(int(Activation.GELU_TANH))
SILU = tl.constexpr(int(Activation.SILU))
RELU_RESULT = tl.constexpr(int(Activation.RELU_RESULT))


@triton.jit
def sigmoid(z):
    """Returns 1 / (1 + exp(-z))."""
    return 1.0 / (1.0 + tl.exp(0.0 - z))


@triton.jit
def curve(z, ACTIVATION: tl.constexpr):
    """Returns the activation of float32 numbers, and its slope there."""
    one = tl.full(z.shape, 1.0, tl.float32)
    if ACTIVATION == RELU:
        return tl.where(z <= 0.0, 0.0, z), tl.where(z <= 0.0, 0.0, one)  # nan stays
    elif ACTIVATION == GELU:
        below = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476))
        return z * below, below + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
    elif ACTIVATION == GELU_TANH:  # (1 + tanh(u)) / 2 = sigmoid(2 u)
        square = z * z
        s = sigmoid(z * (1.5957691216057308 + 0.07135481282553 * square))
        slope = 1.5957691216057308 + 0.21406443847659 * square
        return z * s, s + tl.where(tl.abs(z) < 12.0, z * s * (1.0 - s) * slope, 0.0)
    elif ACTIVATION == SILU:
        s = sigmoid(z)
        return z * s, s + z * s * (1.0 - s)
    else:
        return z, one
