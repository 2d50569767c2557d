"""Streams of random 32-bit words, along each coordinate of an address and along all of them at once."""

import torch
from torch import Tensor

from thinnet.ops import reference
from thinnet.rng import site_number

SEED, STEP, SITE, SAMPLE = 20140101, 7, site_number("encoder.3"), 4711
COORDINATES = ("unit", "sample", "step", "site", "seed")
STREAMS = (*COORDINATES, "all")
CHUNK = 1 << 14  # words at a time: as many as stay in the cache of one core


def words(stream: str, first: int, count: int = CHUNK) -> Tensor:
    """Returns the 32-bit words `first .. first + count - 1` of a stream, as int64; two numbers a word.

    "unit" runs through the units of one sample. "sample", "step", "site" and "seed" take units 0 and 1 of consecutive
    samples, steps, site numbers or seeds. "all" deals the bits of its index out to the blocks of units, the samples, the
    steps, the sites and the seeds in turn, so that every scale of each coordinate meets every scale of the others.

    >>> words("unit", 64, 64).equal(words("unit", 0, 128)[64:]), words("unit", 0, 64)[0].equal(words("sample", 0, 5000)[4711])
    (True, True)
    """
    index = torch.arange(first, first + count)
    at = {"seed": torch.tensor(SEED), "step": torch.tensor(STEP), "site": torch.tensor(SITE), "sample": torch.tensor(SAMPLE)}
    if stream == "unit":
        return reference.blocks(at["seed"], at["step"], at["site"], at["sample"][None], first // 64, count // 64).flatten()
    block = torch.zeros((), dtype=torch.int64)
    if stream == "all":
        block, at["sample"], at["step"], at["site"], at["seed"] = (_dealt(index, place) for place in range(5))
    else:
        at[stream] = index
    key = at["seed"] & reference.WORD, at["seed"] >> 32
    return reference.philox((block, at["sample"], at["step"], at["site"]), key)[0]


def _dealt(index: Tensor, place: int) -> Tensor:
    """Returns every fifth bit of an index below 2^40, from bit `place` on, closed up."""
    value = torch.zeros_like(index)
    for bit in range(8):
        value |= ((index >> (5 * bit + place)) & 1) << bit
    return value
