"""The kernels of the GPU in Triton's interpreter, which has to be chosen before Triton is imported: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).parent / "triton_checks.py"

pytest.importorskip("triton", reason="Triton is written for Linux alone")


def test_the_interpreted_kernels_give_the_bits_of_the_reference() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-m", "pytest", "-p", "no:cacheprovider", str(CHECKS)]
    run = subprocess.run(command, env=environment, cwd=CHECKS.parent.parent, capture_output=True, text=True)
    assert run.returncode == 0 and " passed" in run.stdout and "skipped" not in run.stdout, (
        run.stdout[-6000:] + run.stderr[-2000:]
    )
