"""The GPU kernels without a GPU: run by Triton's interpreter, and compiled; and the script that a GPU will run.

The interpreter has to be chosen before Triton is imported, and a compiler for a GPU that is not there takes the place of the
driver. So each is a process of its own.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GPU = sorted((HERE / "gpu").glob("test_*.py"))
NEED_A_GPU = 5  # tests that no rehearsal runs

pytest.importorskip("triton", reason="Triton is written for Linux alone")


CHECKS = (
    ("triton_checks.py", "1"),
    ("triton_attention_checks.py", "1"),
    ("triton_fused_checks.py", "1"),
    ("triton_thin_checks.py", "1"),
    ("triton_units_checks.py", "1"),
    ("triton_compiled.py", "0"),
    ("triton_attention_compiled.py", "0"),
    ("triton_steps_compiled.py", "0"),
)


@pytest.mark.parametrize(("checks", "interpret"), CHECKS)
def test_the_kernels(checks: str, interpret: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": interpret, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "pytest", "-p", "no:cacheprovider", str(HERE / checks)]
    run = subprocess.run(command, env=environment, cwd=HERE.parent, capture_output=True, text=True)
    assert run.returncode == 0 and " passed" in run.stdout and "skipped" not in run.stdout, (
        run.stdout[-6000:] + run.stderr[-2000:]
    )


def test_the_script_for_a_gpu_is_rehearsed(tmp_path: Path) -> None:
    """A slice of `python -m benchmarks.on_gpu --rehearse`: all benchmarks, and every test with the first of its parameters."""
    command = [sys.executable, "-m", "benchmarks.on_gpu", "--rehearse", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, env=os.environ | {"THINNET_SLICE": "1"})
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    figures = {"gpu.json", "gpu_tiles.json", "gpu_steps.json", "gpu_attention.json", "gpu_parts.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"log.txt", *figures}
    counts = re.findall(r"(\d+) passed", (tmp_path / "log.txt").read_text())
    assert sum(map(int, counts)) >= sum(len(re.findall("^def test_", path.read_text(), re.M)) for path in GPU) - NEED_A_GPU


def test_without_a_gpu_the_script_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.on_gpu", "--out", str(tmp_path / "report")]
    run = subprocess.run(
        command, cwd=HERE.parent, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert run.returncode == 2 and "no GPU" in run.stderr and not list(tmp_path.iterdir())
