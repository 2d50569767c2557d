"""What a mask costs, stored and drawn again: bytes and time by the number of units, and the formulas for whole models."""

import json
import time
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.measure import RESULTS, interleaved
from thinnet.functional import dropout

P = 0.1
SIZES = {1 << 14: (200, 4), 1 << 20: (40, 1), 1 << 24: (8, 1)}  # units, rounds, calls a turn
KINDS = {"stored": F.dropout, "drawn again": lambda x, p, training: dropout(x, p, training=training)}


class Model(NamedTuple):
    """A network of transformer layers in training, on one device or on all together.

    Args:
        layers, width, heads, length: of the network; length counts tokens of a sequence.
        batch: sequences of a step.
    """

    layers: int
    width: int
    heads: int
    length: int
    batch: int

    @property
    def parameters(self) -> float:
        """12 L h^2: attention and feed-forward matrices."""
        return 12.0 * self.layers * self.width**2

    @property
    def residual(self) -> int:
        """Units of the two residual sites of each layer: 2 L b s h."""
        return 2 * self.layers * self.batch * self.length * self.width

    @property
    def attention(self) -> int:
        """Units of the attention site of each layer: L b a s^2."""
        return self.layers * self.batch * self.heads * self.length**2

    @property
    def units(self) -> int:
        """All units of a step."""
        return self.residual + self.attention


MODELS = {
    "a small GPT on a laptop": Model(6, 384, 6, 256, 64),
    "GPT-2, 124 million": Model(12, 768, 12, 1024, 8),
    "7 billion": Model(32, 4096, 32, 4096, 4),
    "100 billion": Model(80, 10240, 80, 2048, 1536),
}


def stored_bytes(kind: str, x: Tensor) -> int:
    """Returns the bytes that a site keeps for backward, beside what its input and output occupy."""
    kept: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        kept[saved.untyped_storage().data_ptr()] = saved.untyped_storage().nbytes()
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        y = KINDS[kind](x, P, training=True)
    for own in (x, y):
        kept.pop(own.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def rows() -> list[dict[str, object]]:
    """Returns bytes, and seconds of forward and backward on one thread, for each number of units in float32."""
    found: list[dict[str, object]] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for units, (rounds, calls) in SIZES.items():
        x, gradient = torch.randn(units, requires_grad=True), torch.randn(units)

        def step(kind: str, x: Tensor = x, gradient: Tensor = gradient) -> None:
            torch.autograd.grad(KINDS[kind](x, P, training=True), x, gradient)

        candidates = {kind: (lambda kind=kind: step(kind)) for kind in KINDS}
        seconds = interleaved(candidates, rounds, calls, clock=time.thread_time)
        found += [{"units": units, "kind": kind, "bytes": stored_bytes(kind, x), "seconds": seconds[kind]} for kind in KINDS]
    torch.set_num_threads(threads)
    return found


def size_of(count: float) -> str:
    """Returns bytes in words.

    >>> size_of(2.5e9)
    '2.5 GB'
    """
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def points() -> str:
    """Returns the table of what was measured."""
    titles = "units", "bytes a unit, stored", "bytes a unit, thinnet", "ns a unit, stored", "ns a unit, thinnet"
    lines, found = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"], load()
    for units in sorted({row["units"] for row in found}):
        of = {row["kind"]: row for row in found if row["units"] == units}
        numbers = [f"{of[kind]['bytes'] / units:g}" for kind in KINDS]
        numbers += [f"{of[kind]['seconds'] / units * 1e9:.2g}" for kind in KINDS]
        lines.append(f"| {units} | {' | '.join(numbers)} |")
    return "\n".join(lines)


def models() -> str:
    """Returns the table of what the masks of a step cost by the formulas, with the slowest time a unit that was measured."""
    each = {kind: max(row["seconds"] / row["units"] for row in load() if row["kind"] == kind) for kind in KINDS}
    titles = "model", "parameters", "units of a step", "stored, 1 byte", "stored, 4 bytes", "core seconds, stored", "thinnet"
    lines = [f"| {' | '.join(titles)} |", "| --- " * len(titles) + "|"]
    for name, model in MODELS.items():
        sizes = [f"{model.parameters:.2g}", f"{model.units:.2g}", *(size_of(model.units * width) for width in (1, 4))]
        lines.append(f"| {name} | {' | '.join(sizes)} | {' | '.join(f'{model.units * each[kind]:.2g}' for kind in KINDS)} |")
    return "\n".join(lines)


def load() -> list[dict[str, Any]]:
    """Returns the measured rows."""
    return json.loads((RESULTS / "scale.json").read_text())["rows"]
