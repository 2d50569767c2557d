"""What needs the compiler: imported by code that is being compiled only, as it takes longer to load than all of PyTorch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.comptime import comptime as comptime

_last = (0, False)


def note(context: Any) -> None:
    """Notes how often the local `site` was used inside of checkpointed parts of this trace, and whether it is in one now."""
    global _last
    trace = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    site = context.get_local("site")._i_will_not_complain_if_bc_breaks_VariableTracker().value
    counts, inside = vars(trace).setdefault("thinnet_calls", {}), trace.current_tracer.parent is not None
    _last = counts.get(id(site), 0), inside
    counts[id(site)] = _last[0] + inside


def forget(context: Any) -> None:
    """Starts the counts of this trace anew."""
    vars(context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output).pop("thinnet_calls", None)


@torch.compiler.assume_constant_result
def noted() -> tuple[int, bool]:
    """Returns what was noted last: a constant of the code that is being made."""
    return _last


@torch.compiler.disable(reason="with activation_memory_budget < 1 coins need names, see thinnet.DropoutRNG")  # type: ignore[call-arg]
def draw_outside(draw: Callable[..., Tensor], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Draws between two graphs, and not in one: with a budget below 1 the backward pass would draw again, something else.

    Its gradients would be wrong, as PyTorch's are: pytorch#190717.
    """
    return draw(device, generator)
