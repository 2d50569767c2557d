"""Questions of code that is being compiled; imported only there, because it loads more slowly than PyTorch."""

from typing import Any

import torch
from torch._dynamo.comptime import comptime as comptime

_inside = False


def look(context: Any) -> None:
    """Notes whether this trace is inside a checkpointed part."""
    global _inside
    trace = context._i_will_not_complain_if_bc_breaks_InstructionTranslator().output
    _inside = trace.current_tracer.parent is not None


@torch.compiler.assume_constant_result
def inside_checkpoint() -> bool:
    """Returns what was last noted, as a constant of the compiled code."""
    return _inside
