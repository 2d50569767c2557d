"""Finds the DropoutRNG and the hooks of a bound model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import nn

from thinnet.rng.calls import CallCounter
from thinnet.rng.site import Site, model_context

if TYPE_CHECKING:
    from thinnet.rng.dropout_rng import DropoutRNG


def rng_of(model: nn.Module) -> "DropoutRNG":
    """Returns the DropoutRNG of a bound model. A copy of a bound model (deepcopy, pickle, `torch.load`, EMA) has its own.

    Raises: ValueError where the model is not bound, or its sites are bound by several.

    >>> import copy, torch, thinnet
    >>> model = nn.Sequential(thinnet.nn.Dropout(0.5))
    >>> rng = thinnet.DropoutRNG(seed=0).bind(model).at(3)
    >>> teacher = copy.deepcopy(model)
    >>> rng_of(model) is rng, rng_of(teacher) is rng, rng_of(teacher).step
    (True, False, None)
    >>> bool((rng_of(teacher).at(3) and teacher(torch.ones(2, 8)) == model(torch.ones(2, 8))).all())
    True
    """
    contexts = [model_context(module.context) for module in model.modules() if isinstance(module, Site)]
    found = {id(context.rng): context.rng for context in contexts if context is not None and context.rng is not None}
    if len(found) != 1:
        got = f"its sites are bound by {len(found)}" if found else "it is not bound"
        raise ValueError(f"rng_of: model must be bound by one DropoutRNG; {got}. Call DropoutRNG(seed).bind(model).")
    (rng,) = found.values()
    for module, counter in hooks_of(model):
        if counter is rng.context.calls:  # a copy does not know its root before
            rng._roots.setdefault(module, set())
    return rng


def release(site: Site) -> None:
    """Makes the DropoutRNG of a site forget it."""
    context = model_context(site.context)
    rng = None if context is None else context.rng
    if rng is not None and rng.sites.get(site.name) is site:
        rng.forget(site.name)
    else:
        site.unbind()


def hooks_of(model: nn.Module) -> Iterator[tuple[nn.Module, CallCounter]]:
    """Returns the modules whose forward passes are counted, and the counters."""
    for module in model.modules():
        for hook in [*module._forward_pre_hooks.values()]:
            counter = getattr(hook, "__self__", None)
            if isinstance(counter, CallCounter):
                yield module, counter


def remove_hooks(module: nn.Module, counter: CallCounter) -> None:
    """Removes the hooks with which `counter` counts the forward passes of a module."""
    for hooks in (module._forward_pre_hooks, module._forward_hooks):
        for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is counter]:
            del hooks[key]
            module._forward_hooks_always_called.pop(key, None)
