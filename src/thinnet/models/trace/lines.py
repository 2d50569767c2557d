"""The line of the model's own code that calls an operation."""

import sys
from pathlib import Path
from types import FrameType

import torch

OURS = str(Path(__file__).parents[2])
THEIRS = str(Path(torch.__file__).parent)
FOREIGN = (OURS + "/", THEIRS + "/", "<")


def calling_line(outermost: FrameType) -> str | None:
    """Returns `file:line` of the innermost frame below `outermost` that is neither PyTorch's nor thinnet's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not outermost:
        file = frame.f_code.co_filename
        if not file.startswith(FOREIGN):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None
