"""The documentation of CPython: as sequences of characters, and as few texts by page."""

import pydoc_data.topics

import torch
from torch import Tensor

LENGTH, CHARACTERS, SEQUENCES = 64, 128, 400
PAGES = ("assignment", "attribute-access", "calls", "comparisons", "import", "strings", "string-methods", "typesmapping")
WORDS, TEXTS = 24, 40


def sequences() -> tuple[Tensor, Tensor]:
    """Return characters (N, T) and the character that follows each of them (N, T), as whole numbers below 128."""
    topics = pydoc_data.topics.topics
    text = "\n".join(topics[name] for name in sorted(topics))
    codes = torch.tensor([min(ord(letter), CHARACTERS - 1) for letter in text[: SEQUENCES * LENGTH + 1]])
    return codes[:-1].reshape(SEQUENCES, LENGTH), codes[1:].reshape(SEQUENCES, LENGTH)


def documents() -> tuple[list[str], list[int], tuple[str, ...]]:
    """Return 40 texts of 24 words from each page, the page of each, and the names of the pages."""
    found = []
    for number, page in enumerate(PAGES):
        words = pydoc_data.topics.topics[page].split()
        found += [(" ".join(words[start : start + WORDS]), number) for start in range(0, TEXTS * WORDS, WORDS)]
    texts, pages = zip(*found, strict=True)
    return list(texts), list(pages), PAGES
