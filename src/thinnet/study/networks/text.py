"""The documentation of CPython as sequences of characters."""

import pydoc_data.topics

import torch
from torch import Tensor

LENGTH, CHARACTERS, SEQUENCES = 64, 128, 400


def sequences() -> tuple[Tensor, Tensor]:
    """Return characters (N, T) and the character that follows each of them (N, T), as whole numbers below 128."""
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    codes = torch.tensor([min(ord(letter), CHARACTERS - 1) for letter in text[: SEQUENCES * LENGTH + 1]])
    return codes[:-1].reshape(SEQUENCES, LENGTH), codes[1:].reshape(SEQUENCES, LENGTH)
