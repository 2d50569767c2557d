"""The wheel and the sdist, installed into clean environments: torch alone, and no compiler on the path."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from thinnet.ops import build

ROOT, SMOKE = Path(__file__).parent.parent, Path(__file__).parent / "smoke.py"
BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"

pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or build.compiler() is None, reason="links need a POSIX system, and the wheel a compiler"
)


def with_requirements(name: str) -> Iterator[str]:
    """The name of a distribution that is installed here, and the names of those that it needs."""
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        try:
            found = distribution(name)
        except PackageNotFoundError:  # a requirement of another platform
            continue
        if name not in seen:
            seen.add(name)
            yield name
            needs = (line for line in found.requires or () if "extra ==" not in line)
            waiting += [re.match(r"[\w.-]+", line)[0] for line in needs]


def link(names: Iterator[str], folder: Path) -> None:
    """Links the files of distributions that are installed here into the packages of another environment."""
    for name in names:
        found = distribution(name)
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))


class Environment:
    """A virtual environment with links to a few distributions, and a path on which there is no compiler."""

    def __init__(self, folder: Path, *names: str) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
        self.folder, self.packages = folder, next(folder.glob("lib/python*/site-packages"))
        link((each for name in names for each in with_requirements(name)), self.packages)
        kept = {name: os.environ[name] for name in ("LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
        self.variables = kept | {"PATH": str(folder / "bin"), "HOME": str(folder), "OMP_NUM_THREADS": "1"}

    def run(self, *command: str, cwd: Path | None = None) -> str:
        where = cwd or self.folder
        done = subprocess.run(command, capture_output=True, text=True, env=self.variables, cwd=where, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def python(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.run(str(self.folder / "bin" / "python"), *arguments, cwd=cwd)

    def install(self, wheel: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--python", str(self.folder / "bin" / "python"), "install"]
        options = ["--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
        subprocess.run([*pip, *options], check=True, env=os.environ | {"PIP_CONSTRAINT": ""})

    def smoke(self) -> dict:
        found = json.loads(self.python("-P" if sys.version_info >= (3, 11) else "-s", str(SMOKE)))
        assert Path(found["folder"]).is_relative_to(self.folder)
        return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the project without what was built."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    (folder / "tests").mkdir()
    shutil.copy(__file__, folder / "tests")
    ignored = shutil.ignore_patterns("_C*", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def pure(project: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that pip makes of it: in an environment with setuptools, without torch and a compiler."""
    folder = tmp_path_factory.mktemp("pure")
    builder = Environment(folder / "builder", "setuptools")
    sdist = folder / builder.python("-c", BUILD, "build_sdist", str(folder), cwd=project).splitlines()[-1]
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    unpacked = folder / sdist.name.removesuffix(".tar.gz")
    return sdist, folder / builder.python("-c", BUILD, "build_wheel", str(folder), cwd=unpacked).splitlines()[-1]


@pytest.fixture(scope="module")
def compiled(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is made where there are torch and a compiler."""
    folder = tmp_path_factory.mktemp("compiled")
    command = [sys.executable, "-c", BUILD, "build_wheel", str(folder)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stdout.splitlines()[-1]


def test_the_sdist_has_what_the_kernels_are_compiled_from(pure: tuple[Path, Path]) -> None:
    sdist, wheel = pure
    needed = {path.name for path in build.CSRC.iterdir()}
    with tarfile.open(sdist) as archive, zipfile.ZipFile(wheel) as files:
        for names in (archive.getnames(), files.namelist()):
            assert {Path(name).name for name in names if "/ops/csrc/" in name} == needed
            assert not any("_C." in name or "tests" in Path(name).parts for name in names)
    assert wheel.name.endswith("-py3-none-any.whl")


def test_a_wheel_with_kernels_serves_every_python_from_3_10_on(compiled: Path) -> None:
    assert "-cp310-abi3-" in compiled.name
    with zipfile.ZipFile(compiled) as files:
        library = [name for name in files.namelist() if "/ops/_C" in name]
    assert library == ["thinnet/ops/_C.abi3.so"]


def test_wheel_and_sdist_give_the_same_bits_without_a_compiler(pure: tuple[Path, Path], compiled: Path, tmp_path: Path) -> None:
    from_wheel, from_sdist = (Environment(tmp_path / name, "torch") for name in ("wheel", "sdist"))
    from_wheel.install(compiled)
    from_sdist.install(pure[1])
    kernels, reference = from_wheel.smoke(), from_sdist.smoke()
    assert kernels["library"] and kernels["path"] != "reference"
    assert reference["library"] is None and reference["path"] == "reference"
    assert kernels["digest"] == reference["digest"]
    assert "next: nothing to do" in from_wheel.run("thinnet", "doctor")

    facts = json.loads(from_sdist.run("thinnet", "doctor", "--json"))
    assert facts["compiler"] is None and "Then run `thinnet build`." in facts["next"][0]
    place = from_sdist.python("-c", "from thinnet.ops import build; print(build.cached())").strip()
    Path(place).parent.mkdir(parents=True)
    with zipfile.ZipFile(compiled) as files:  # `thinnet build` compiles the same files to this place
        Path(place).write_bytes(files.read("thinnet/ops/_C.abi3.so"))
    cached = from_sdist.smoke()
    assert (cached["library"], cached["path"], cached["digest"]) == (place, kernels["path"], kernels["digest"])
