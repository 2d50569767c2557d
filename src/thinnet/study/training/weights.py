"""The weights of a trial on disk. A file is written completely or it does not count."""

import hashlib
import io
import os
import re
from pathlib import Path

import torch
from torch import Tensor

from thinnet.study.design.configuration import ALL, CONSTANT, TrialKey

States = dict[str, dict[str, Tensor]]
"""`best`: the weights of the epoch with the lowest validation loss; `last`: those of the last epoch."""


def weights_path(folder: Path, key: TrialKey) -> Path:
    """Returns the path of the weights of a trial.

    Example:
        >>> from thinnet.study.design.configuration import Configuration
        >>> weights_path(Path("report"), TrialKey(Configuration("dropout", 0.5), 3)).as_posix()
        'report/weights/dropout-0.5-seed-3.pt'
    """
    method, rate, place, schedule = key.configuration
    line = "".join(f"-{part}" for part, usual in ((place, ALL), (schedule, CONSTANT)) if part != usual)
    if line and not re.fullmatch(r"[\w.+-]+", line):  # a pattern is no name of a file
        line = f"-{hashlib.sha256(line.encode()).hexdigest()[:12]}"
    return folder / "weights" / f"{method}{line}-{rate!r}-seed-{key.seed}.pt"


def save_weights(path: Path, states: States) -> str:
    """Writes the weights in one atomic step, and returns the SHA-256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    content = io.BytesIO()  # torch.save reports a full disk as an error of its own format
    torch.save(states, content)
    with partial.open("wb") as file:
        file.write(content.getbuffer())
        file.flush()
        os.fsync(file.fileno())
    digest = weights_digest(partial)
    os.replace(partial, path)
    return digest


def load_weights(path: Path) -> States:
    """Reads what `save_weights` wrote."""
    return torch.load(path, weights_only=True)


def weights_digest(path: Path) -> str:
    """Returns the SHA-256 of a file; an empty text where there is no file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
