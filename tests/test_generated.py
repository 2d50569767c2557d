"""What is generated from the method files: the public modules, the registry, and the rows of the benchmark."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import environment

from benchmarks import methods
from docs import faces, gallery, site_methods
from thinnet.methods.registry import FOLDERS
from thinnet.methods.site_methods import SITE_METHODS


def test_public_modules_and_registry_are_up_to_date() -> None:
    assert faces.update(check=True) == []


def test_methods_at_a_site_are_exactly_those_that_train_there_from_a_rate_alone() -> None:
    assert site_methods.update(check=True) == []
    assert {"Dropout", "GaussianDropout", "SpanMasking", "Dropout3d", "FeatureDropout"} <= SITE_METHODS.keys()
    assert not {"ExpertDropout", "Zoneout", "WeightDrop", "MaxPoolDropout2d", "Cutout", "DropEdge"} & SITE_METHODS.keys()


@pytest.mark.parametrize("threads", ["1", "2"])
def test_pages_are_up_to_date_whatever_the_threads_the_terminal_and_the_locale(threads: str) -> None:
    plain = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "20", "OMP_NUM_THREADS": threads}
    root = Path(faces.__file__).parent.parent
    variables = environment() | plain
    variables["PYTHONPATH"] = os.pathsep.join((str(root), variables["PYTHONPATH"]))
    command = [sys.executable, "-m", "docs.generate", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=root, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pictures_are_the_same_on_any_number_of_threads() -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = gallery.pictures()
        torch.set_num_threads(3)
        assert gallery.pictures() == one and torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_a_picture_may_be_rounded_differently_and_not_be_another() -> None:
    scene = gallery.catalogue.scene(8, 8)
    assert gallery.same(gallery.png(scene), gallery.png(scene * (1 + 1e-6 * torch.randn(8, 8))))
    assert not gallery.same(gallery.png(scene), gallery.png(scene.where(torch.arange(8) != 3, 0)))
    assert not gallery.same(gallery.png(scene), gallery.png(scene.where(torch.arange(8) != 3, 2 * scene)))


def test_generation_needs_none_of_the_generated_files(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "methods" / "elementwise").mkdir(parents=True)
    (tmp_path / "methods" / "fused.py").write_text("FUSED = (quiet_add,)\n")
    method = tmp_path / "methods" / "elementwise" / "quiet.py"
    method.write_text("METHODS = (Method(FACTS, Quiet, function=quiet, picture=lambda x: x),)\n")
    monkeypatch.setattr(faces, "PACKAGE", tmp_path)
    assert len(faces.update(check=False)) == len(faces.FILES) and faces.update(check=True) == []
    compile((tmp_path / "methods" / "registry.py").read_text(), "registry.py", "exec")
    assert "from thinnet.methods.elementwise.quiet import Quiet as Quiet\n" in (tmp_path / "nn.py").read_text()
    assert "from thinnet.methods.elementwise.quiet import quiet as quiet\n" in (tmp_path / "functional.py").read_text()
    assert "from thinnet.methods.fused import quiet_add as quiet_add\n" in (tmp_path / "functional.py").read_text()
    assert "*quiet.METHODS," in (tmp_path / "methods" / "registry.py").read_text()


@pytest.mark.parametrize("name", methods.cases())
def test_rows_of_the_benchmark_run(name: str) -> None:
    make, shape = methods.cases()[name]
    assert not make()(torch.rand(2, *shape[1:])).isnan().any()


def test_settings_of_the_benchmark_are_of_methods_that_exist() -> None:
    names = {method.name for entries in FOLDERS.values() for method in entries}
    assert methods.LEFT_OUT | {title.partition(",")[0] for title in methods.SETTINGS} <= names
