"""The commands `doctor` and `build`: they print, and return the exit code."""

import platform
import subprocess
import sys
import time

from thinnet.doctor.facts import as_json, as_text, facts
from thinnet.doctor.facts import version_line as version_line
from thinnet.ops import build, schema, why

RIGHT, WRONG, BAD_INPUT = 0, 1, 2


def show_facts(json: bool) -> int:
    """Print the facts. The exit code says whether every path has the bits of the reference."""
    found = facts()
    sys.stdout.write((as_json(found) if json else as_text(found)) + "\n")
    broken = bool(build.built()) and why() is not None
    return WRONG if broken or any(each["wrong"] for each in found["bits"]) else RIGHT


def compile_kernels(force: bool) -> int:
    """Compile the kernels into the cache of the user, and check their bits in a process that loads them."""
    if why() is None and not force:
        sys.stdout.write(f"thinnet build: the kernels are there: {schema.loaded}. Nothing to do.\n")
        return RIGHT
    target, started = build.cached(), time.monotonic()
    what = f"{len(build.sources())} C++ files for {platform.machine()} and PyTorch {build.STABLE_ABI} or later"
    sys.stdout.write(f"thinnet build: compiling {what}. This takes up to a minute.\n")
    sys.stdout.flush()
    try:
        build.compile_to(target)
    except build.BuildError as error:
        sys.stderr.write(f"{error}\n")
        return BAD_INPUT
    sys.stdout.write(f"thinnet build: compiled in {time.monotonic() - started:.0f} s: {target}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "thinnet", "doctor"]).returncode
