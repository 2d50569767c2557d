"""The memory of attention, forward and backward, by its length: how far the process grows, kernels included.

Each figure comes from a process of its own: what one run leaves behind would hide what the next one needs. Linux alone.
"""

import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import attention

LENGTHS = (512, 1024, 2048, 4096, 8192)
CANDIDATES = {
    "PyTorch, p = 0": attention.pytorch(True, 0.0),
    "PyTorch": attention.pytorch(True, 0.1),
    "thinnet": attention.ours(True, attention.RATE),
}


def rows() -> list[dict[str, object]]:
    """Returns one row for each length, in MiB."""
    return [{"length": length, "mebibytes": {name: _elsewhere(name, length) for name in CANDIDATES}} for length in LENGTHS]


def _elsewhere(name: str, length: int) -> float:
    command = [sys.executable, "-m", "benchmarks.attention_memory", name, str(length)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def growth(name: str, length: int) -> float:
    """Returns how far the memory of this process grows, in MiB, in forward and backward of 2 heads of 64 features."""
    torch.set_num_threads(2)
    _run(name, 64)  # what is loaded once
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = _kibibytes("VmRSS")
    _run(name, length)
    return round((_kibibytes("VmHWM") - before) / 1024, 1)


def _run(name: str, length: int) -> None:
    q, k, v = (torch.zeros(1, 2, length, 64).requires_grad_() for _ in range(3))
    CANDIDATES[name](q, k, v).sum().backward()


def _kibibytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


if __name__ == "__main__":
    print(growth(sys.argv[1], int(sys.argv[2])))
