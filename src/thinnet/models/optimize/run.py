"""What runs in an optimised model: sites and the modules before them hand over values that are not computed yet."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.models.optimize.pending import Chain, Pending, plain, waiting
from thinnet.models.rewrite.methods import Replacement
from thinnet.ops.schema import transformed

LEAST = 1 << 16  # numbers: below, the calls of a chain cost more than the passes that it saves


@dataclass(eq=False)
class Fusion:
    """One chain of a model.

    Args:
        adds: whether a residual is added to the dropout.
        norm: whether the sum is normalised.
        on: whether its operations run as one; None for tensors that are large enough.
    """

    adds: bool
    norm: bool
    on: bool | None = None

    def serves(self, count: int) -> bool:
        """Returns whether the operations run as one for a tensor of so many numbers."""
        return count >= LEAST if self.on is None else self.on


class FusedSite(Replacement):
    """Replaces `forward` of a site: it drops together with what is before it, or waits for what is behind it."""

    def __init__(self, module: Dropout, fusion: Fusion) -> None:
        super().__init__(module)
        self.fusion = fusion

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the dropout of `x`."""
        site: Any = self.module
        if not site.training or site.p in (0, None) or site.structured or not eager(x):
            return self.method(plain(x))
        chain = waiting(x)
        if chain is None or chain.where is not None:
            if not self.fusion.adds or not self.fusion.serves(x.numel()):
                return self.method(plain(x))
            chain = Chain(plain(x))
        key = site.key(x)
        joined = Chain(
            *(chain.x, chain.ids, chain.bias, chain.gate, None, chain.activation),
            where=(key.rate, *key.address),
            adds=self.fusion.adds,
            norm=self.fusion.norm,
        )
        return joined.pending() if self.fusion.adds else joined.value()


class HandingOver(Replacement):
    """Replaces `forward` of the module before a chain: its output, or its input, waits for what follows.

    Args:
        module: the module.
        inside: whether the input waits: the module is the activation.
        fusion: the chain.
    """

    def __init__(self, module: nn.Module, inside: bool, fusion: Fusion) -> None:
        super().__init__(module)
        self.inside, self.fusion = inside, fusion

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the module."""
        if not self.module.training or not args or not eager(args[0]):
            return self.method(*args, **kwargs)
        if isinstance(self.module, nn.Embedding):
            chain = Chain(self.module.weight, args[0])
            return chain.pending() if self.fusion.serves(args[0].numel() * chain.x.shape[1]) else self.method(*args, **kwargs)
        if self.inside:
            x = plain(args[0])
            return self.method(Chain(x).pending() if self.fusion.serves(x.numel()) else x, *args[1:], **kwargs)
        out = self.method(*args, **kwargs)
        return Chain(out).pending() if type(out) is Tensor and self.fusion.serves(out.numel()) else out


def eager(x: Any) -> bool:
    """Returns whether plain code runs on a dense CPU tensor and autograd records it.

    Compiled code and other devices fuse on their own. Without autograd, a checkpoint may be about to run the code again.
    """
    if torch.compiler.is_compiling() or torch._C._is_tracing() or not torch.is_grad_enabled():
        return False
    if transformed() or torch._C._len_torch_dispatch_stack():
        return False
    dense = type(x) in (Tensor, nn.Parameter, Pending) and x.layout is torch.strided and not x.is_nested
    return dense and x.device.type == "cpu"
