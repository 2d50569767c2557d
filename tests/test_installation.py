"""`thinnet doctor`, `thinnet build`, and where the compiled kernels are looked for."""

import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from processes import environment
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.doctor import agreement, facts
from thinnet.ops import backends, build, schema

SMALL = 'extern "C" __attribute__((visibility("default"))) int thinnet_test_{name}() {{ return 7; }}\n'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two small C++ files in place of the kernels, and an empty cache folder."""
    folder = tmp_path / "csrc"
    folder.mkdir()
    for name in ("first", "second"):
        (folder / f"{name}.cpp").write_text(SMALL.format(name=name))
    monkeypatch.setattr(build, "CSRC", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.cached.cache_clear()
    yield folder
    build.cached.cache_clear()


def doctor() -> dict:
    shown = CliRunner().invoke(app, ["doctor", "--json"])
    return json.loads(shown.stdout) | {"exit code": shown.exit_code}


def test_the_doctor_checks_every_path_of_this_processor() -> None:
    found = doctor()
    cpu = [each["path"] for each in found["bits"] if each["device"] == "cpu"]
    assert cpu[:1] == ["reference"] and backends()["cpu"] in cpu
    assert all(each["wrong"] is None and each["cases"] for each in found["bits"])
    assert found["exit code"] == 0 and found["library"] == (schema.loaded and str(schema.loaded))


def test_wrong_bits_are_an_error_and_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    right = agreement.apply_noise

    def wrong(x: torch.Tensor, *rest: torch.Tensor, backend: str, **named: object) -> torch.Tensor:
        y = right(x, *rest, backend=backend, **named)
        return y if backend == "reference" else y + (torch.arange(y.numel()).reshape(y.shape) == 7)

    monkeypatch.setattr(agreement, "apply_noise", wrong)
    found = doctor()
    assert found["exit code"] == (1 if schema.loaded else 0)
    if schema.loaded:
        assert "differs from the reference" in found["next"][0] and backends()["cpu"] in found["next"][0]
        assert "WRONG" in facts.as_text(found)


def test_a_path_that_cannot_run_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("no kernel image is available\nmore")

    monkeypatch.setattr(agreement.reference, "philox", fails)
    first = doctor()["bits"][0]
    assert first["wrong"] == "RuntimeError: no kernel image is available"


@pytest.mark.parametrize(("compiler", "step"), [(["c++"], "Run `thinnet build`."), (None, "Then run `thinnet build`.")])
def test_without_kernels_the_next_step_is_to_compile_them(
    monkeypatch: pytest.MonkeyPatch, compiler: list[str] | None, step: str
) -> None:
    monkeypatch.setattr(schema, "missing", "the C++ kernels are not compiled")
    monkeypatch.setattr(build, "compiler", lambda: compiler)
    assert any(step in each for each in facts.next_steps([]))


def test_every_cpp_file_is_compiled_into_one_library(sources: Path) -> None:
    build.compile_to(build.cached())
    library = ctypes.CDLL(str(build.cached()))
    assert library.thinnet_test_first() == library.thinnet_test_second() == 7
    assert build.built() == [build.cached()]
    assert [path.name for path in build.cached().parent.iterdir()] == [build.cached().name]


def test_the_place_of_the_kernels_follows_their_sources(sources: Path) -> None:
    before = build.cached()
    assert f"torch{build.STABLE_ABI}" in before.name and os.uname().machine.lower() in before.name
    (sources / "third.cpp").write_text("")
    build.cached.cache_clear()
    assert build.cached() != before and build.cached().parent == before.parent


def test_a_failed_compilation_says_why_and_leaves_nothing(sources: Path) -> None:
    (sources / "broken.cpp").write_text("this is no C++\n")
    with pytest.raises(build.BuildError, match=r"build: .* must compile C\+\+20; broken.cpp failed with:\n.*broken.cpp:1"):
        build.compile_to(build.cached())
    assert list(build.cached().parent.iterdir()) == []


def test_a_missing_compiler_says_what_to_install(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sources))
    for name, got in (("", "none of c++, g++, clang++"), ("my-cc -m64", "my-cc -m64")):
        monkeypatch.setenv("CXX", name)
        with pytest.raises(build.BuildError, match=r"must be on PATH; got " + got.replace("+", r"\+")):
            build.compile_to(build.cached())


def test_build_with_kernels_does_nothing() -> None:
    if schema.loaded is None:
        pytest.skip("there are no compiled kernels")
    shown = CliRunner().invoke(app, ["build"])
    assert (shown.exit_code, shown.stdout.count("Nothing to do")) == (0, 1)


def test_the_build_file_imports_neither_torch_nor_thinnet() -> None:
    code = (
        "import sys, runpy; found = runpy.run_path(sys.argv[1]); found['cached'](), found['torch_folder']();"
        "print({'torch', 'thinnet'} & sys.modules.keys())"
    )
    command = [sys.executable, "-c", code, build.__file__]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert shown.stdout.strip() == "set()"
