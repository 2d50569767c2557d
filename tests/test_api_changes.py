"""The comparison of the public API finds a breaking change, and accepts one that is declared."""

from pathlib import Path

import pytest

griffe = pytest.importorskip("griffe")
api_changes = pytest.importorskip("docs.api_changes")

OLD = "def kept(x, p=0.5): ...\ndef removed(): ...\ndef changed(x, p=0.5): ...\n"
NEW = "def kept(x, p=0.5, *, more=1): ...\ndef changed(x): ...\n"


def load(folder: Path, code: str):
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "__init__.py").write_text(code)
    return griffe.load("lib", search_paths=[str(folder)], force_inspection=False)


def test_a_removed_name_and_a_removed_argument_are_found(tmp_path: Path) -> None:
    old, new = load(tmp_path / "old", OLD), load(tmp_path / "new", NEW)
    found = api_changes.breaking(old, new, "")
    assert [line.split(": ")[0] for line in found] == ["lib.changed", "lib.removed"]
    assert [line.split(": ")[0] for line in api_changes.breaking(old, new, "- `lib.removed` is gone")] == ["lib.changed"]
