"""Norms that are called as functions stay in eval, in a module whose mode is turned on for its coins alone."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

from thinnet.models.edit.calls import innermost

FLAG = 5  # the place, and the names, of the argument that asks for the statistics of the batch
NAMES = ("training", "use_input_stats")
STATISTICS: dict[Callable[..., Any], int] = {  # by function, the place of the running mean
    F.batch_norm: 1,
    F.instance_norm: 1,
    torch.batch_norm: 3,
    torch.instance_norm: 3,
}


class Held(TorchFunctionMode):
    """While it is on, a norm with running statistics, called by a module in training mode, uses these and leaves them alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function; a norm as in eval."""
        if func in STATISTICS:
            args, kwargs = held(func, args, kwargs or {})
        return func(*args, **kwargs or {})


def held(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Returns the arguments of a norm as in eval."""
    module, place = innermost()[1], STATISTICS[func]
    mean = args[place] if len(args) > place else kwargs.get("running_mean")
    if mean is None or module is None or not module.training:
        return args, kwargs
    if len(args) > FLAG:
        return (*args[:FLAG], False, *args[FLAG + 1 :]), kwargs
    return args, kwargs | {NAMES[func in (F.instance_norm, torch.instance_norm)]: False}
