"""Compiles the C++ kernels: `setup.py` for a wheel, `thinnet build` for a package that came without them.

The kernels use PyTorch's stable ABI alone. So they need its headers, `libtorch_cpu` and a C++20 compiler, and neither Python's
headers nor a build system. One build serves every later PyTorch, and every processor of its architecture: it holds the kernels
of each instruction set and chooses one when it is loaded. `setup.py` loads this file by its path: it imports neither torch nor
thinnet.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from pathlib import Path

CSRC = Path(__file__).parent / "csrc"
STABLE_ABI = "2.10"  # the first PyTorch whose stable ABI has what the kernels call
WINDOWS, MACOS = sys.platform == "win32", sys.platform == "darwin"
COMPILERS = ("clang++",) if WINDOWS else ("c++", "g++", "clang++")  # the kernels use vector types, which MSVC has not
SUFFIX = ".pyd" if WINDOWS else ".so"

# -ffp-contract=off: a fused multiply-add would round differently from the reference that defines the bits.
# -fwrapv: integers wrap around, as those of the reference do.
# -fno-trapping-math and -fno-math-errno let loops with a selection or a root become vector instructions; no value changes.
FLAGS = (
    *("-O3", "-std=c++20", "-DNDEBUG", "-ffp-contract=off", "-fwrapv", "-fno-trapping-math", "-fno-math-errno"),
    *("-fvisibility=hidden", "-DTORCH_TARGET_VERSION=0x020a000000000000", *(() if WINDOWS else ("-fPIC",))),
)


class BuildError(RuntimeError):
    """The kernels cannot be compiled here. The message says what is missing."""


def sources() -> list[Path]:
    """Returns the C++ files, each of which is compiled on its own."""
    return sorted(CSRC.glob("*.cpp"))


def compiler() -> list[str] | None:
    """Returns the command of the C++ compiler: `$CXX`, or the first one on the path; None where there is none."""
    wanted = shlex.split(os.environ.get("CXX", ""))
    if wanted:
        return wanted if shutil.which(wanted[0]) else None
    return next(([name] for name in COMPILERS if shutil.which(name)), None)


def torch_folder() -> Path | None:
    """Returns the folder of PyTorch, without importing it; None where it is not installed."""
    spec = find_spec("torch")
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def built() -> list[Path]:
    """Returns the compiled kernels that are there: in the package, and those that `thinnet build` compiled."""
    return [path for path in (*CSRC.parent.glob("_C*.so"), *CSRC.parent.glob("_C*.pyd"), cached()) if path.exists()]


@cache
def cached() -> Path:
    """Returns where `thinnet build` puts the kernels of this version, these sources and this architecture."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in sorted(CSRC.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    target = f"{sys.platform}-{platform.machine()}".lower()
    return _cache_folder() / "thinnet" / f"kernels-torch{STABLE_ABI}-{target}-{digest.hexdigest()[:16]}{SUFFIX}"


def _cache_folder() -> Path:
    """Returns the folder for files of this user that can be made again."""
    if WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    default = Path.home() / ("Library/Caches" if MACOS else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or default)


def compile_to(target: Path) -> None:
    """Compiles the kernels, as many files at a time as `$MAX_JOBS` or the cores allow, and puts the library in place at once.

    Raises:
        BuildError: there is no compiler or no PyTorch, or the compiler fails.
    """
    command, torch = compiler(), torch_folder()
    if command is None:
        named = os.environ.get("CXX") or f"none of {', '.join(COMPILERS)}"
        raise BuildError(f"build: a C++20 compiler must be on PATH; got {named}. {how_to_get_a_compiler()}")
    if torch is None:
        raise BuildError("build: PyTorch must be installed; it is not. Run pip install torch.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as folder:
        flags = [*_environment_flags("CPPFLAGS", "CXXFLAGS", "ARCHFLAGS"), *FLAGS, f"-I{torch / 'include'}"]
        jobs = [
            ([*command, *flags, "-c", str(source), "-o", str(Path(folder, f"{source.stem}.o"))], source.name)
            for source in sources()
        ]
        with ThreadPoolExecutor(int(os.environ.get("MAX_JOBS") or os.cpu_count() or 1)) as pool:
            list(pool.map(_run, *zip(*jobs, strict=True)))
        objects = [each[0][-1] for each in jobs]
        library = Path(folder, target.name)
        _run([*command, *flags_of_link(torch), *objects, "-ltorch_cpu", "-o", str(library)], target.name)
        library.replace(target)  # a process that reads the folder sees the whole file or none


def flags_of_link(torch: Path) -> list[str]:
    """Returns the arguments of the link step; the libraries of PyTorch are in memory when the kernels are loaded."""
    rest = ["-Wl,-rpath,@loader_path/../../torch/lib"] if MACOS else []
    return ["-shared", *_environment_flags("CXXFLAGS", "ARCHFLAGS", "LDFLAGS"), f"-L{torch / 'lib'}", *rest]


def _environment_flags(*names: str) -> list[str]:
    return [flag for name in names for flag in shlex.split(os.environ.get(name, ""))]


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = "\n".join(done.stderr.splitlines()[:20])
        raise BuildError(f"build: {command[0]} must compile C++20; {name} failed with:\n{lines}")


def how_to_get_a_compiler() -> str:
    """Returns the next step of somebody who has no compiler."""
    if WINDOWS:
        return "Install LLVM, and the Build Tools for Visual Studio with the Windows SDK."
    return (
        "Run xcode-select --install."
        if MACOS
        else "Install one, such as g++ 11: apt install g++, or conda install cxx-compiler."
    )
