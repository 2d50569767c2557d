"""Attention with dropout, forward and backward, against PyTorch's without and with; and a training step of a small GPT.

Ratios are to PyTorch without dropout, in the same run. What a processor with AVX2 alone would take is measured in a process of
its own, in which PyTorch and its libraries use no more than AVX2 either.
"""

import json
import os
import subprocess
import sys
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
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


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
    found = [{"name": name, "milliseconds": times} for name, times in _long(_candidates).items()]
    if thinnet.ops.backends()["cpu"] == "avx512":
        command = [sys.executable, "-m", "benchmarks.attention"]
        times = json.loads(subprocess.run(command, env=os.environ | AVX2, check=True, stdout=subprocess.PIPE).stdout)
        found = [row | {"milliseconds, AVX2": times[row["name"]]} for row in found]
    found += [_short(length, calls, backward) for backward in (False, True) for length, calls in SHORT.items()]
    for (batch, length), rounds in STEPS.items():
        times = interleaved({name: training_step(name, batch, length) for name in CANDIDATES}, rounds)
        name = f"GPT step, batch {batch}, length {length}"
        found.append({"name": name, "milliseconds": {each: round(value * 1e3, 2) for each, value in times.items()}})
    return found


def _candidates(is_causal: bool) -> dict[str, Callable[..., Tensor]]:
    return {
        "PyTorch, p = 0": pytorch(is_causal, 0.0),
        "PyTorch": pytorch(is_causal, 0.1),
        "thinnet, p = 0": ours(is_causal, NONE),
        "thinnet": ours(is_causal, RATE),
    }


def _candidates_of_avx2(is_causal: bool) -> dict[str, Callable[..., Tensor]]:
    return {"PyTorch, p = 0": pytorch(is_causal, 0.0), "thinnet": ours(is_causal, RATE, "avx2")}


def _long(candidates: Callable[[bool], dict[str, Callable[..., Tensor]]]) -> dict[str, dict[str, float]]:
    """Returns the milliseconds of each candidate, for each dtype, length and kind of mask."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        for length, rounds in ROUNDS.items():
            for is_causal in (False, True):
                x = [torch.randn(2, 8, length, 64, dtype=dtype, requires_grad=True) for _ in range(3)]
                gradient = torch.randn_like(x[0])
                runs = candidates(is_causal).items()
                steps = {name: lambda run=run, x=x, g=gradient: torch.autograd.grad(run(*x), x, g) for name, run in runs}
                name = f"{str(dtype).removeprefix('torch.')}, length {length}" + (", causal" if is_causal else "")
                found[name] = {each: round(value * 1e3, 2) for each, value in interleaved(steps, rounds).items()}
    return found


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


if __name__ == "__main__":
    torch.set_num_threads(2)
    json.dump(_long(_candidates_of_avx2), sys.stdout)
