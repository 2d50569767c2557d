"""The weights of a trial on disk: a file is there whole, or it does not count."""

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor

from thinnet.study.plan import DROPOUT, Key

States = dict[str, dict[str, Tensor]]
"""`best`: the weights of the epoch with the lowest hold-out loss; `last`: those of the last epoch."""


def weights_path(folder: Path, key: Key) -> Path:
    """Where the weights of one trial are; those of dropout are where they were before a study could compare methods.

    Args:
        folder: the study's folder.
        key: which trial.

    Returns:
        A path that no other trial has.

    Example:
        >>> weights_path(Path("report"), Key("dropout", 0.5, 3)).as_posix()
        'report/weights/rate-0.5-seed-3.pt'
    """
    method = "" if key.method == DROPOUT else f"{key.method}-"
    return folder / "weights" / f"{method}rate-{key.rate!r}-seed-{key.seed}.pt"


def save_weights(path: Path, states: States) -> str:
    """Writes the weights beside their place, then moves them there in one step.

    Args:
        path: where they shall be.
        states: the weights.

    Returns:
        The file's SHA-256.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(states, file)
        file.flush()
        os.fsync(file.fileno())
    digest = weights_digest(partial)
    os.replace(partial, path)
    return digest


def load_weights(path: Path) -> States:
    """Reads what `save_weights` wrote.

    Args:
        path: where it is.

    Returns:
        The weights.
    """
    return torch.load(path, weights_only=True)


def weights_digest(path: Path) -> str:
    """Says which weights a file holds.

    Args:
        path: where it is.

    Returns:
        The file's SHA-256, or an empty text where there is no file.
    """
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
