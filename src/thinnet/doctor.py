"""Facts about this installation: `thinnet --version` and `thinnet doctor`. They need torch alone."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch

import thinnet
from thinnet.ops import backends, why
from thinnet.report.extras import EXTRAS, installed, libraries
from thinnet.report.machine import cores
from thinnet.report.table import Table


def version_line() -> str:
    """Return the version, and the kernels of each device, on one line."""
    paths = ", ".join(f"{device}: {path}" for device, path in backends().items())
    return f"thinnet {thinnet.__version__} ({paths})"


def facts() -> dict[str, Any]:
    """Return the facts as plain data."""
    return {
        "thinnet": thinnet.__version__,
        "path": str(Path(thinnet.__file__).parent),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "devices": _devices(),
        "kernels": {device: {"path": path, "reason": why(device)} for device, path in backends().items()},
        "extras": {extra: _extra(extra) for extra in EXTRAS},
    }


def _devices() -> list[str]:
    """Return the devices that PyTorch can use."""
    found = ["cpu", *(f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count()))]
    return found + [name for name in ("mps", "xpu") if getattr(torch, name).is_available()]


def _extra(name: str) -> dict[str, Any]:
    versions = {library: installed(library) for library in libraries(name)}
    missing = [library for library, found in versions.items() if found is None]
    return {
        "gives": EXTRAS[name][0],
        "installed": not missing,
        "missing": missing,
        "versions": {library: found for library, found in versions.items() if found is not None},
        "install": f"pip install 'thinnet[{name}]'",
    }


def report(as_json: bool) -> str:
    """Return the facts as text, or as JSON."""
    found = facts()
    if as_json:
        return json.dumps(found, indent=1)
    plain = {name: value for name, value in found.items() if name not in ("devices", "kernels", "extras")}
    lines = [f"{name:<11} {value}" for name, value in (plain | {"devices": ", ".join(found["devices"])}).items()]
    kernels = [(device, each["path"], each["reason"] or "") for device, each in found["kernels"].items()]
    extras = [(name, each["gives"], _state(each)) for name, each in found["extras"].items()]
    tables = Table(("device", "kernels", "why"), kernels), Table(("extra", "gives", "state"), extras)
    return "\n".join([*lines, "", str(tables[0]), "", str(tables[1])])


def _state(extra: dict[str, Any]) -> str:
    return "installed" if extra["installed"] else f"missing {', '.join(extra['missing'])}: {extra['install']}"
