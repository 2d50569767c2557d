"""Batch normalisation over all ranks. That of PyTorch, `SyncBatchNorm`, needs a GPU."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Sum(torch.autograd.Function):
    """The sum over ranks, and its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return Sum.forward(ctx, gradients[0])


class SharedBatchNorm(_BatchNorm):
    """Normalises by the mean and variance of the whole batch, of which each rank has a part.

    Args:
        norm: whose parameters and statistics it uses.
        copies: returns how many ranks have the same rows.
    """

    def __init__(self, norm: _BatchNorm, copies: Callable[[], int]) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
        self.copies = copies
        for name, value in (*norm.named_parameters(), *norm.named_buffers()):
            setattr(self, name, value)
        self.train(norm.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """The layer that this one replaces has checked the input of the study's trial run."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training and self.running_mean is not None:
            return super().forward(input)
        shape = (1, -1, *[1] * (input.dim() - 2))
        axes = [axis for axis in range(input.dim()) if axis != 1]
        count = input.new_tensor([input.numel() / input.shape[1]], dtype=torch.float64)
        dist.all_reduce(count)
        number = count.item()
        if number == self.copies():
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
        x = input.float()
        mean = Sum.apply(x.sum(axes)) / number
        centred = x - mean.view(shape)
        variance = Sum.apply(centred.square().sum(axes)) / number
        self._update(mean.detach(), variance.detach(), number / self.copies())
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    def _update(self, mean: Tensor, variance: Tensor, number: float) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (number / (number - 1)), momentum)


def over_ranks(network: nn.Module, copies: Callable[[], int]) -> None:
    """Replaces every batch normalisation of a network."""
    for name, module in list(network.named_modules()):
        if isinstance(module, _BatchNorm):
            network.set_submodule(name, SharedBatchNorm(module, copies))
