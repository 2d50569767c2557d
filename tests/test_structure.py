"""The shape of the code base: imports run downwards, lists agree with each other, the core needs torch alone."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from rows import OWN_TESTS, ROWS

import thinnet
import thinnet.functional
import thinnet.losses
from thinnet.methods.fused import FUSED
from thinnet.methods.registry import REGISTRY

PACKAGE = Path(thinnet.__file__).parent
FLOORS = [
    ("_lazy", "arguments", "report"),
    ("lint", "ops", "playground"),
    ("rng",),
    ("methods", "schedules", "integrations"),
    ("functional", "nn", "losses", "models", "distributed", "optim"),
    ("inference",),
    ("benchmark", "diagnosis", "study"),
    ("sklearn", "reproductions"),
    ("doctor", "pytest_plugin"),
    ("cli", "__main__"),
]
LEVEL = {name: level for level, names in enumerate(FLOORS) for name in names}
STUDY = ["design", "data", "training", "workers", "evidence", "findings", "report"]


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


def test_imports_in_the_study_run_downwards() -> None:
    wrong = []
    for folder in STUDY:
        above = "|".join(STUDY[STUDY.index(folder) + 1 :])
        for path in sorted((PACKAGE / "study" / folder).rglob("*.py")):
            found = re.findall(rf"thinnet\.study\.(?:{above})\b.*", path.read_text()) if above else []
            wrong += [f"{path.relative_to(PACKAGE)}: {line}" for line in found]
    assert not wrong


def imported_files(name: str, paths: dict[str, Path]) -> set[str]:
    """The files that a file imports: at its top, in a function, or for types, unless the type is from a lower floor."""
    found: set[str] = set()
    nodes: list[tuple[ast.AST, bool]] = [(ast.parse(paths[name].read_text()), False)]
    while nodes:
        node, for_types = nodes.pop()
        for_types |= isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        targets: set[str] = set()
        if isinstance(node, ast.ImportFrom):
            members = (f"{node.module}.{alias.name}" for alias in node.names)
            targets = {member if member in paths else str(node.module) for member in members}
        elif isinstance(node, ast.Import):
            targets = {alias.name for alias in node.names}
        found |= {target for target in targets & paths.keys() if not (for_types and floor(paths[target]) < floor(paths[name]))}
        nodes += [(child, for_types) for child in ast.iter_child_nodes(node)]
    return found - {name}


def floor(path: Path) -> int:
    return LEVEL.get(room(path), -1)


def test_files_import_each_other_without_circles() -> None:
    relative = {path: path.relative_to(PACKAGE.parent).with_suffix("") for path in modules()}
    paths = {".".join(name.parts).removesuffix(".__init__"): path for path, name in relative.items()}
    graph = {name: imported_files(name, paths) for name in paths}
    assert circle_in(graph) == []


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"a"}, "c": set()}) in (["a", "b", "a"], ["b", "a", "b"])


@pytest.mark.parametrize(
    "package", (thinnet, thinnet.inference, thinnet.sklearn, thinnet.study), ids=lambda package: package.__name__
)
def test_lazy_names_are_those_that_type_checkers_see(package) -> None:
    shown: dict[str, str] = {}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.ImportFrom) and not any((alias.asname or "_").startswith("_") for alias in node.names):
            shown |= {alias.name: str(node.module) for alias in node.names}
    modules = dict.fromkeys(getattr(package, "_MODULES", ()), package.__name__)
    assert package._PLACES | modules == shown
    assert dir(package) == package.__all__ == sorted(shown)
    submodules = {path.stem for path in Path(package.__path__[0]).iterdir()}
    assert not submodules & package._PLACES.keys()  # once a submodule is imported, it would hide the name


def test_every_room_has_its_floor_and_its_explanation() -> None:
    assert {room(path) for path in modules()} - {"__init__"} == LEVEL.keys()
    text = (PACKAGE.parents[1] / "CONTRIBUTING.md").read_text()
    assert [name for name in LEVEL if f"`{name}`" not in text] == []


def test_the_core_needs_torch_alone() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import thinnet; thinnet.nn, thinnet.functional, thinnet.DropoutRNG; "
        "names = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "print(sorted(names - set(sys.stdlib_module_names) - {'torch', 'thinnet'}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


FACES = (thinnet.nn, thinnet.functional, thinnet.losses)
PUBLIC = [(method, thing) for method in REGISTRY for thing in (method.module, method.function) if thing is not None]


def test_what_needs_no_pytorch_does_not_wait_for_it() -> None:
    code = "import sys, thinnet, thinnet.cli; print('torch' in sys.modules, set(thinnet._MODULES) <= set(dir(thinnet)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "True"]


@pytest.mark.parametrize(("method", "thing"), PUBLIC, ids=lambda value: getattr(value, "__name__", ""))
def test_every_method_is_public_and_documented(method, thing) -> None:
    assert any(vars(face).get(thing.__name__) is thing for face in FACES)
    words, first = thing.__doc__ or "", next(other for other in REGISTRY if other.facts is method.facts)
    if thing is method.function and words.startswith(f"Functional form of `{method.name}`"):
        assert ">>> " in words and "Source:" not in words  # the class says it
    elif method is not first and f"`{first.name}`" in words.partition(".")[0]:
        assert ">>> " in words
    else:
        assert all(part in words for part in ("Args:", "Raises:", "Source:", ">>> "))


def test_nothing_else_is_public() -> None:
    names = {name for face in FACES for name in vars(face) if name.isidentifier() and not name.startswith("_")}
    assert names == {thing.__name__ for _, thing in PUBLIC} | {function.__name__ for function in FUSED}


def test_every_method_has_its_row_or_its_own_tests() -> None:
    rows = {row.name for row in ROWS}
    assert {method.name for method in REGISTRY} == rows | OWN_TESTS.keys()
    assert not rows & OWN_TESTS.keys()
    assert all((Path(__file__).parent / path).exists() for path in OWN_TESTS.values())
