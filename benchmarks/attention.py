"""Attention with dropout, forward and backward, against PyTorch's without and with; and a training step of a small GPT.

Ratios are to PyTorch without dropout, in the same run.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import thinnet
from benchmarks.measure import interleaved
from thinnet.ops.attention import attention

ROUNDS = {512: 15, 2048: 5}
SHORT = {32: 400, 64: 150, 256: 20}  # calls in a row; `thinnet.ops.attention.is_faster` chooses between 32 and 64
STEPS = {(8, 256): 7, (2, 1024): 5}
RATE, NONE = 6554, 0  # in 65536ths


def pytorch(is_causal: bool, p: float) -> Callable[..., Tensor]:
    """Returns PyTorch's attention."""
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=is_causal)


def ours(is_causal: bool, count: int, backend: str = "auto", device: str = "cpu") -> Callable[..., Tensor]:
    """Returns our operation at a rate in 65536ths, also where the public function would call PyTorch's at rate 0."""
    window = (None, 0) if is_causal else (None, None)
    rate, seed = torch.tensor(count, dtype=torch.int32, device=device), torch.tensor(3, device=device)
    return lambda q, k, v: attention(q, k, v, rate, seed, window=window, backend=backend)[0]


def rows() -> list[dict[str, object]]:
    """Returns one row for each dtype, length and kind of mask, then short lengths without dropout, then batches of the GPT."""
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        for length, rounds in ROUNDS.items():
            for is_causal in (False, True):
                name = f"{str(dtype).removeprefix('torch.')}, length {length}" + (", causal" if is_causal else "")
                found.append({"name": name, "milliseconds": _attention(dtype, length, is_causal, rounds)})
    found += [_short(length, calls, backward) for backward in (False, True) for length, calls in SHORT.items()]
    for (batch, length), rounds in STEPS.items():
        times = interleaved({name: training_step(name, batch, length) for name in CANDIDATES}, rounds)
        name = f"GPT step, batch {batch}, length {length}"
        found.append({"name": name, "milliseconds": {each: round(value * 1e3, 2) for each, value in times.items()}})
    return found


def _attention(dtype: torch.dtype, length: int, is_causal: bool, rounds: int) -> dict[str, float]:
    x = [torch.randn(2, 8, length, 64, dtype=dtype, requires_grad=True) for _ in range(3)]
    gradient = torch.randn_like(x[0])
    narrow = {"thinnet, AVX2": "avx2"} if thinnet.ops.backends()["cpu"] == "avx512" else {}
    candidates = {
        "PyTorch, p = 0": pytorch(is_causal, 0.0),
        "PyTorch": pytorch(is_causal, 0.1),
        "thinnet, p = 0": ours(is_causal, NONE),
        "thinnet": ours(is_causal, RATE),
        **{name: ours(is_causal, RATE, path) for name, path in narrow.items()},
    }
    steps = {name: lambda run=run: torch.autograd.grad(run(*x), x, gradient) for name, run in candidates.items()}
    return {name: round(value * 1e3, 2) for name, value in interleaved(steps, rounds).items()}  # pyright: ignore[reportArgumentType]


def _short(length: int, calls: int, backward: bool) -> dict[str, object]:
    x = [torch.randn(2, 8, length, 64, requires_grad=backward) for _ in range(3)]
    gradient = torch.randn_like(x[0])
    runs = {"PyTorch, p = 0": pytorch(False, 0.0), "thinnet, p = 0": ours(False, NONE)}
    forward = {name: lambda run=run: run(*x) for name, run in runs.items()}
    whole = {name: lambda run=run: torch.autograd.grad(run(*x), x, gradient) for name, run in runs.items()}
    times = interleaved(whole if backward else forward, 9, calls if not backward else calls // 3)  # pyright: ignore[reportArgumentType]
    name = f"float32, length {length}" + ("" if backward else ", forward alone")
    return {"name": name, "milliseconds": {each: round(value * 1e3, 4) for each, value in times.items()}}


CANDIDATES: dict[str, tuple[type[nn.Module], Callable[[float], Callable[..., Tensor]], float]] = {
    "PyTorch, p = 0": (nn.Dropout, lambda p: pytorch(True, p), 0.0),
    "PyTorch": (nn.Dropout, lambda p: pytorch(True, p), 0.1),
    "thinnet": (thinnet.nn.Dropout, lambda p: lambda q, k, v: _fused(q, k, v, p), 0.1),
}


def _fused(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    return thinnet.functional.attention(q, k, v, p=p, training=True, is_causal=True)


class Block(nn.Module):
    """A layer of a GPT with dropout of attention weights and of both branches."""

    def __init__(self, width: int, heads: int, dropout: type[nn.Module], attend: Callable[..., Tensor], p: float) -> None:
        super().__init__()
        self.heads, self.attend, self.first, self.second = heads, attend, nn.LayerNorm(width), nn.LayerNorm(width)
        self.projection, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.drops = nn.ModuleList(dropout(p) if p else nn.Identity() for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the output of the layer."""
        q, k, v = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in self.projection(self.first(x)).chunk(3, -1))
        x = x + self.drops[0](self.out(self.attend(q, k, v).transpose(1, 2).flatten(2)))
        return x + self.drops[1](self.narrow(F.gelu(self.wide(self.second(x)))))


def gpt(name: str, layers: int, width: int, heads: int, words: int) -> nn.Sequential:
    """Returns a GPT with the dropout of a candidate."""
    dropout, attend, p = CANDIDATES[name]
    blocks = [Block(width, heads, dropout, attend(p), p) for _ in range(layers)]
    first = [nn.Embedding(words, width), *([dropout(p)] if p else [])]
    return nn.Sequential(*first, *blocks, nn.LayerNorm(width), nn.Linear(width, words))


def training_step(name: str, batch: int, length: int) -> Callable[[], object]:
    """Returns a step of a GPT of 6 layers, 384 features and 6 heads over 256 tokens, with dropout everywhere or nowhere."""
    torch.manual_seed(0)
    model = gpt(name, 6, 384, 6, 256)
    optimiser = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(0, 256, (batch, length + 1))

    def run() -> None:
        optimiser.zero_grad()
        F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimiser.step()

    return run
