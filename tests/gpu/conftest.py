"""Shows a failure at once, as the time on a GPU may end before the summary; and lets Triton's interpreter serve a rehearsal."""

import os
from importlib import import_module

import pytest
import torch

from benchmarks import device

torch.backends.cudnn.allow_tf32 = False  # convolutions that round to 10 bits are not those of a CPU

if device.REHEARSE:
    from thinnet.ops import gpu

    for module in ("functional", "nn", "optim"):  # which import all that registers operations
        import_module(f"thinnet.{module}")
    stand_in = torch.library.Library("thinnet", "IMPL")
    for name, kernel in gpu.registered.items():
        stand_in.impl(name, kernel, "CPU", allow_override=True)

ORDER = "test_gpu", "test_gpu_attention", "test_gpu_compiled", "test_gpu_methods", "test_gpu_steps", "test_gpu_parts"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Deals the tests to the processes of benchmarks.on_gpu in turn, so that the most important run first.

    A slice of a rehearsal runs every test once, with the first of its parameters.
    """
    items.sort(key=lambda item: ORDER.index(item.path.stem) if item.path.stem in ORDER else len(ORDER))
    if os.environ.get("THINNET_SLICE"):
        items[:] = {(item.path, getattr(item, "originalname", item.name)): item for item in reversed(items)}.values()
        items.reverse()
    process, processes = (int(part) for part in os.environ.get("THINNET_SHARD", "0/1").split("/"))
    if processes > 1:
        items[:] = items[process::processes]
    if device.missing:
        for item in items:
            if "tests/gpu" in str(item.path):
                item.add_marker(pytest.mark.skip(reason=device.missing))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        print(f"\nFAILED {report.nodeid}\n{report.longreprtext[-2500:]}", flush=True)
