"""Which line of whose code is calling: the frame nearest to an operation that is neither PyTorch's nor thinnet's."""

import sys
from pathlib import Path
from types import FrameType

import torch

OURS = str(Path(__file__).parents[2])
THEIRS = str(Path(torch.__file__).parent)
FOREIGN = tuple(folder + "/" for folder in (OURS, THEIRS))


def calling_line(outermost: FrameType) -> str | None:
    """Returns `file:line` of the nearest frame of the model's own code, short of `outermost`; None where there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame is not outermost:
        file = frame.f_code.co_filename
        if not file.startswith(FOREIGN) and not file.startswith("<"):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return None
