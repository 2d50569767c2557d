"""Keeps norms that are called as functions in eval, in a module that is in training mode for its dropout alone."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from thinnet.models.rewrite.functions import Intercepted, Rules, running_module

FLAG = 5  # the position, and the names, of the argument that asks for the statistics of the batch
NAMES = ("training", "use_input_stats")
STATISTICS: dict[Callable[..., Any], int] = {  # by function, the position of the running mean
    F.batch_norm: 1,
    F.instance_norm: 1,
    torch.batch_norm: 3,
    torch.instance_norm: 3,
}


def as_in_eval(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Returns the arguments of a norm as in eval: it uses its running statistics and does not update them."""
    module, place = running_module()[1], STATISTICS[func]
    mean = args[place] if len(args) > place else kwargs.get("running_mean")
    if mean is None or module is None or not module.training:
        return args, kwargs
    if len(args) > FLAG:
        return (*args[:FLAG], False, *args[FLAG + 1 :]), kwargs
    return args, kwargs | {NAMES[func in (F.instance_norm, torch.instance_norm)]: False}


def _run(mode: Intercepted, func: Any, args: Any, kwargs: Any) -> Any:
    args, kwargs = as_in_eval(func, args, kwargs)
    return func(*args, **kwargs)


NORMS: Rules = dict.fromkeys(STATISTICS, _run)
