"""The shape of the code base: imports run downwards, lists agree with each other, the core needs torch alone."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import thinnet
import thinnet.functional
from thinnet.methods import REGISTRY

PACKAGE = Path(thinnet.__file__).parent
FLOORS = [
    ("facts", "schedules", "placing", "names", "ops", "tracing", "calls"),
    ("rates",),
    ("site",),
    ("places",),
    ("coins",),
    ("methods", "data", "integrations"),
    ("functional", "nn"),
    ("study",),
    ("cli", "__main__"),
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms of the package that a file imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "thinnet":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("thinnet."):
            found.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("thinnet.")}
    return found & LEVEL.keys()


def test_imports_run_downwards() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in modules()
        for name in imported(path)
        if room(path) in LEVEL and LEVEL[name] > LEVEL[room(path)]
    ]
    assert not wrong


def test_every_room_has_its_floor() -> None:
    assert {room(path) for path in modules()} - {"__init__"} == LEVEL.keys()


def test_the_core_needs_torch_alone() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import thinnet; "
        "names = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(names - set(sys.stdlib_module_names) - {'torch', 'thinnet'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.parametrize("method", REGISTRY, ids=lambda method: method.module.__name__)
def test_every_method_is_public_and_documented(method) -> None:
    assert getattr(thinnet.nn, method.module.__name__) is method.module
    assert getattr(thinnet.functional, method.function.__name__) is method.function
    for thing in (method.module, method.function):
        text = thing.__doc__ or ""
        assert all(part in text for part in ("Args:", "Raises:", "Source:", ">>> ")), thing.__name__


def test_nothing_else_is_public() -> None:
    names = {name for name in vars(thinnet.nn) if not name.startswith("_")}
    assert names == {method.module.__name__ for method in REGISTRY}
    names = {name for name in vars(thinnet.functional) if not name.startswith("_")}
    assert names == {method.function.__name__ for method in REGISTRY}
