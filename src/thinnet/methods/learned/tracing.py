"""What only code that is being compiled asks: imported there alone, as it takes longer to load than all of PyTorch."""

from typing import Any

import torch
from torch._dynamo.comptime import comptime as comptime

_inside = False


def look(context: Any) -> None:
    """Notes whether this trace is inside of a checkpointed part now."""
    global _inside
    trace = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    _inside = trace.current_tracer.parent is not None


@torch.compiler.assume_constant_result
def inside_checkpoint() -> bool:
    """Returns what was noted last: a constant of the code that is being made."""
    return _inside
