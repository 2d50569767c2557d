"""Correlates consecutive random numbers along each coordinate of an address: `python -m benchmarks.quality.correlation`.

It takes some minutes. For 10^9 numbers of 16 bits along each coordinate: the correlation of a number with the next one, and of
each of its bits with the same bit of the next one, as z-values. Writes benchmarks/results/correlation.json. For
good random bits, the chance that any of the 85 z-values passes 5 sigma is 5e-5.
"""

import sys

import torch
from torch import Tensor

from benchmarks.measure import write
from benchmarks.quality.streams import CHUNK, COORDINATES, words

NUMBERS, SIGMA = 10**9, 5.0


def drawn(stream: str, first: int) -> Tensor:
    """Returns a chunk of numbers; consecutive rows are compared. They have two units each, except along the units."""
    chunk = words(stream, first)
    return torch.stack((chunk & 0xFFFF, chunk >> 16), dim=-1).reshape(-1, 1 if stream == "unit" else 2)


def row(stream: str, count: int) -> dict[str, object]:
    """Returns the z-values of one coordinate."""
    product, flips, pairs = 0.0, torch.zeros(16, dtype=torch.int64), 0
    last = drawn(stream, 0)[:0]
    for first in range(0, count // 2, CHUNK):
        chunk = torch.cat((last, drawn(stream, first)))
        one, other = chunk[:-1].flatten(), chunk[1:].flatten()
        product += float(torch.dot(one.double() - 32767.5, other.double() - 32767.5))
        differ = one ^ other
        flips += torch.stack([((differ >> bit) & 1).sum() for bit in range(16)])
        pairs += one.numel()
        last = chunk[-1:]
    value = product / (65536**2 - 1) * 12 / pairs**0.5
    bits = (flips.double() * 2 - pairs) / pairs**0.5
    worst = max(abs(value), float(bits.abs().max()))
    return {
        "coordinate": stream,
        "pairs": pairs,
        "z of the number": round(value, 3),
        "z of its bits, lowest first": [round(float(z), 3) for z in bits],
        "largest": round(worst, 3),
        "verdict": "passed" if worst < SIGMA else "failed",
    }


def main() -> int:
    """Runs every coordinate; returns the exit status: 1 where one failed."""
    torch.set_num_threads(1)
    rows = []
    for stream in COORDINATES:
        rows.append(row(stream, NUMBERS))
        print(stream, rows[-1]["largest"], rows[-1]["verdict"], flush=True)
    write("correlation", rows)
    return int(any(found["verdict"] == "failed" for found in rows))


if __name__ == "__main__":
    sys.exit(main())
