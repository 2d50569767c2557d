"""The hooks of a bound model, and the release of a site."""

from collections.abc import Iterator

from torch import nn

from thinnet.rng.calls import CallCounter
from thinnet.rng.context import model_context
from thinnet.rng.site import Site


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
