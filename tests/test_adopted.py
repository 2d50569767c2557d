"""Stand-ins for real projects have the fault that their page states, `thinnet lint` finds it, and the change mends it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from thinnet.lint.engine import check
from thinnet.lint.rules import REGISTRY

ROOT = Path(__file__).parent.parent
FOLDER, PAGE = ROOT / "examples" / "adopted", ROOT / "docs" / "adopted.md"
FILES = sorted(FOLDER.glob("*.py"))
STABLE = [rule for rule in REGISTRY if not rule.preview]
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


@each_file
def test_every_sentence_that_an_example_prints_is_true(path: Path, tmp_path: Path) -> None:
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert run.returncode == 0, run.stderr
    said = re.findall(r": (True|False)$", run.stdout, re.MULTILINE)
    assert len(said) >= 2 and set(said) == {"True"}, run.stdout


def rows() -> dict[str, str]:
    """The last column of the page, by the name of the file."""
    return dict(re.findall(r"adopted/(\w+)\.py\) \| (.*) \|$", PAGE.read_text(), re.MULTILINE))


def test_the_page_lists_every_example() -> None:
    assert sorted(rows()) == [path.stem for path in FILES]


@each_file
def test_lint_finds_what_the_page_says_and_no_more(path: Path) -> None:
    """At most one finding: that of the fault, and none in the mended half."""
    assert [finding.rule.code for finding in check(path.read_text(), STABLE)] == re.findall(r"THN\d+", rows()[path.stem])
