"""How a time is taken: candidates in turn, medians of many rounds, ratios to a floor that was measured in between."""

import gc
import json
import os
import platform
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch

import thinnet

RESULTS = Path(os.environ.get("THINNET_RESULTS", Path(__file__).parent / "results"))


def interleaved(
    candidates: Mapping[str, Callable[[], object]], rounds: int, calls: int = 1, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Returns the median seconds of each candidate over many rounds in which all take their turn, each time in another order.

    Who comes before decides what memory is at hand and what the caches hold; over many orders that is the same for all. A
    candidate is called once more before it is timed, so that it finds its own input where it left it. Where one call is too
    short to be told from what surrounds it, `calls` of them in a row are timed and divided. On one thread, the clock
    `time.thread_time` does not see other processes.
    """
    order, chance = list(candidates), random.Random(0)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        call()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            chance.shuffle(order)
            for name in order:
                call = candidates[name]
                call()
                start = clock()
                for _ in range(calls):
                    call()
                times[name].append((clock() - start) / calls)
    finally:
        gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> dict[str, object]:
    """Returns what a figure depends on: processor, threads, versions, and the commit."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    found: dict[str, object] = {
        "processor": model,
        "threads": torch.get_num_threads(),
        "path": thinnet.ops.backends()["cpu"],
        "torch": torch.__version__,
        "thinnet": thinnet.__version__,
        "commit": commit,
    }
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "triton": version("triton")}
    return found


def write(name: str, rows: list[dict[str, object]]) -> Path:
    """Writes the rows of one benchmark with the machine that they were measured on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return path
