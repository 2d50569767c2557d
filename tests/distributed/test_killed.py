"""Killed with `kill -9`, resumed from the last checkpoint: the weights of an uninterrupted run, bit for bit."""

import random
import signal
from pathlib import Path
from threading import Timer

import torch
from processes import python

WORKER = Path(__file__).with_name("killed_worker.py")
KILLS = ((4, 20), (25, 40))  # between which steps


def assert_killed_at(folder: Path, step: int) -> None:
    """Starts the training, and kills it when it says that it is at a step; it may get a little further."""
    with python(WORKER, folder) as process:
        late = Timer(60, process.kill)  # does not wait for a silent process
        late.start()
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if line.strip() == str(step):
                    break
        finally:
            late.cancel()
            process.kill()
    assert process.wait(30) == -signal.SIGKILL, "".join(lines)
    assert lines[-1].strip() == str(step), "".join(lines)


def finished(folder: Path) -> list[int]:
    """Runs the training to its end; returns the steps that it went through."""
    with python(WORKER, folder) as process:
        try:
            out, _ = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 0, out
    return [int(line) for line in out.split()]


def test_killed_and_resumed_is_never_killed(tmp_path: Path, seed: int) -> None:
    killed, spared = tmp_path / "killed", tmp_path / "spared"
    killed.mkdir()
    spared.mkdir()
    for low, high in KILLS:
        assert_killed_at(killed, random.Random(seed).randint(low, high))
    assert finished(killed)[0] > KILLS[-1][0] - 3  # it resumed
    assert finished(spared) == list(range(60))
    ours, expected = torch.load(killed / "weights.pt"), torch.load(spared / "weights.pt")
    assert ours.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(ours[name], weight), name
