"""Decides whether work can be skipped for some samples of a batch."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.residual.skipped import selecting


def countable(x: Any) -> bool:
    """Returns whether the host can read the mask of the samples of `x` now, so that work on some of them can be skipped."""
    if not isinstance(x, Tensor) or selecting(x):
        return False
    return type(x) in (Tensor, nn.Parameter) and not x.is_meta and not x.is_nested and x.layout == torch.strided and x.ndim > 0


def modes_active() -> bool:
    """Returns whether a torch function mode, or a dispatch mode of thinnet, must see all operations.

    Such a mode may draw masks for functions over all rows, or trace random draws.
    """
    if any(not isinstance(mode, DeviceContext) for mode in _get_current_function_mode_stack()):
        return True
    return any(type(mode).__module__.startswith("thinnet.") for mode in _get_current_dispatch_mode_stack())


def mixing(modules: Iterable[nn.Module], forced: bool = False) -> nn.Module | None:
    """Returns a module that combines several samples, so that the kept ones depend on skipped ones; None if there is none.

    With `forced`, batch normalisation may see the kept samples alone, unless it is synchronised over processes.

    >>> isinstance(mixing(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).modules()), nn.BatchNorm1d)
    True
    """
    combines = _synchronised if forced else _mixes
    return next((module for module in modules if combines(module)), None)


def _synchronised(module: nn.Module) -> bool:
    return isinstance(module, SyncBatchNorm) and module.training


def _mixes(module: nn.Module) -> bool:
    if isinstance(module, _BatchNorm):
        return module.training or module.running_mean is None
    if isinstance(module, _InstanceNorm):
        return module.training and module.track_running_stats
    return isinstance(module, BatchwiseDropout) and module.training and module.groups > 1
