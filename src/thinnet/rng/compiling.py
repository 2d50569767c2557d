"""What needs the compiler. Only compiled code imports it, as it takes longer to load than all of PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.comptime import comptime as comptime

_last = (0, False)


def look(context: Any) -> None:
    """Finds out whether this trace is in a checkpointed part, which must not write to what is outside."""
    global _last
    trace = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    _last = 0, trace.current_tracer.parent is not None


def note(context: Any) -> None:
    """Counts how often checkpointed parts of this trace used the local `site`, and does what `look` does."""
    global _last
    look(context)
    trace = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    site = context.get_local("site")._i_will_not_complain_if_bc_breaks_VariableTracker().value
    counts, inside = vars(trace).setdefault("thinnet_calls", {}), _last[1]
    _last = counts.get(id(site), 0), inside
    counts[id(site)] = _last[0] + inside


def forget(context: Any) -> None:
    """Starts the counts of this trace anew, and refuses a site that was added to the bound model after `bind`."""
    vars(context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output).pop("thinnet_calls", None)
    model = getattr(context.get_local("module")._i_will_not_complain_if_bc_breaks_VariableTracker(), "value", None)
    for module in model.modules() if isinstance(model, nn.Module) else ():
        check: Any = getattr(module, "check_bound", None)  # a site has one
        if check is not None and module.training and getattr(module, "context", module) is None:
            check(model)


@torch.compiler.assume_constant_result
def noted() -> tuple[int, bool]:
    """Returns what `note` or `look` found last, a constant of the compiled code."""
    return _last


@torch.compiler.disable(reason="with activation_memory_budget < 1 masks need addresses, see thinnet.DropoutRNG")  # type: ignore[call-arg]
def draw_outside(draw: Callable[..., Tensor], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Draws between two graphs. With a budget below 1 the backward pass would draw another seed: pytorch#190717."""
    return draw(device, generator)
