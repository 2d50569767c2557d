"""The facts about an installation, and what to do next."""

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import thinnet
from thinnet.doctor.agreement import Agreement, agreements
from thinnet.ops import backends, build, schema, why
from thinnet.report.extras import EXTRAS, installed, libraries
from thinnet.report.machine import cores
from thinnet.report.table import Table


def version_line() -> str:
    """Returns the version, and the kernels of each device, on one line."""
    paths = "; ".join(f"{device}: {path}" for device, path in backends().items())
    return f"thinnet {thinnet.__version__} ({paths})"


def facts() -> dict[str, Any]:
    """Returns the facts as plain data. It runs each path once."""
    checked = agreements()
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
        "compiler": _compiler(),
        "library": None if schema.loaded is None else str(schema.loaded),
        "devices": _devices(),
        "kernels": {device: {"path": path, "reason": why(device)} for device, path in backends().items()},
        "bits": [asdict(each) for each in checked],
        "extras": {extra: _extra(extra) for extra in EXTRAS},
        "next": next_steps(checked),
    }


def _compiler() -> str | None:
    """Returns the first line that the C++ compiler says about itself; None where there is none."""
    command = build.compiler()
    if command is None:
        return None
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace").stdout.splitlines()
    return said[0] if said else " ".join(command)


def _devices() -> list[str]:
    """Returns the devices that PyTorch can use."""
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


def next_steps(checked: list[Agreement]) -> list[str]:
    """Returns what to do, the most important first; empty where there is nothing to do."""
    steps = [
        f"The masks of {each.path} on {each.device} cannot be trusted: {each.wrong}. Report it with `thinnet doctor --json`."
        for each in checked
        if each.wrong
    ]
    if why():
        compiles = "Run `thinnet build`. It compiles the CPU kernels in about a minute."
        steps.append(compiles if build.compiler() else f"{build.how_to_get_a_compiler()} Then run `thinnet build`.")
    if torch.cuda.is_available() and backends()["cuda"] == "reference":
        steps.append("Run pip install 'thinnet[gpu]'. It brings the GPU kernels.")
    if shutil.which("nvidia-smi") and torch.version.cuda is None:
        steps.append("Install a CUDA build of PyTorch. This machine has an NVIDIA driver, and this PyTorch cannot use it.")
    return steps


def as_json(found: dict[str, Any]) -> str:
    """Returns the facts as JSON."""
    return json.dumps(found, indent=1)


def as_text(found: dict[str, Any]) -> str:
    """Returns the facts as text."""
    plain = {name: value for name, value in found.items() if not isinstance(value, dict | list)}
    lines = [f"{name:<11} {value or 'none'}" for name, value in (plain | {"devices": ", ".join(found["devices"])}).items()]
    kernels = [(device, each["path"], each["reason"] or "") for device, each in found["kernels"].items()]
    bits = [(each["device"], each["path"], _verdict(each)) for each in found["bits"]]
    extras = [(name, each["gives"], _state(each)) for name, each in found["extras"].items()]
    tables = (("device", "kernels", "why"), kernels), (("device", "path", "bits"), bits), (("extra", "gives", "state"), extras)
    steps = [f"next: {step}" for step in found["next"]] or ["next: nothing to do"]
    return "\n\n".join(["\n".join(lines), *(str(Table(head, rows)) for head, rows in tables), "\n".join(steps)])


def _verdict(agreement: dict[str, Any]) -> str:
    if agreement["wrong"]:
        return f"WRONG: {agreement['wrong']}"
    cases = "one known answer" if agreement["path"] == "reference" and agreement["device"] == "cpu" else None
    return f"equal to {cases or 'the reference in ' + str(agreement['cases']) + ' cases'}"


def _state(extra: dict[str, Any]) -> str:
    return "installed" if extra["installed"] else f"missing {', '.join(extra['missing'])}: {extra['install']}"
