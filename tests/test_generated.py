"""What is generated from the method files: the public modules, the registry, and the rows of the benchmark."""

import pytest
import torch

from benchmarks import methods
from docs import faces
from thinnet.methods.registry import FOLDERS


def test_public_modules_and_registry_are_up_to_date() -> None:
    assert faces.update(check=True) == []


def test_generation_needs_none_of_the_generated_files(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "methods" / "elementwise").mkdir(parents=True)
    method = tmp_path / "methods" / "elementwise" / "quiet.py"
    method.write_text("METHODS = (Method(FACTS, Quiet, function=quiet, picture=lambda x: x),)\n")
    monkeypatch.setattr(faces, "PACKAGE", tmp_path)
    assert len(faces.update(check=False)) == len(faces.FILES) and faces.update(check=True) == []
    compile((tmp_path / "methods" / "registry.py").read_text(), "registry.py", "exec")
    assert "from thinnet.methods.elementwise.quiet import Quiet as Quiet\n" in (tmp_path / "nn.py").read_text()
    assert "from thinnet.methods.elementwise.quiet import quiet as quiet\n" in (tmp_path / "functional.py").read_text()
    assert "*quiet.METHODS," in (tmp_path / "methods" / "registry.py").read_text()


@pytest.mark.parametrize("name", methods.cases())
def test_rows_of_the_benchmark_run(name: str) -> None:
    make, shape = methods.cases()[name]
    assert not make()(torch.rand(2, *shape[1:])).isnan().any()


def test_settings_of_the_benchmark_are_of_methods_that_exist() -> None:
    names = {method.name for entries in FOLDERS.values() for method in entries}
    assert methods.LEFT_OUT | {title.partition(",")[0] for title in methods.SETTINGS} <= names
