"""`pytest --dropout-audit`: finds the mistakes of the models that tests run, raises no false alarm, and changes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from processes import Forked, environment, run_module

MODELS = '''
import torch
from torch import nn
from torch.nn import functional as F

class Slip(nn.Module):
    """Drops in eval mode too."""
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(32, 32)
    def forward(self, x, *, extra=None):
        return F.dropout(self.line(x), 0.5)

class Right(Slip):
    def forward(self, x, *, extra=None):
        return F.dropout(self.line(x), 0.5, self.training)
'''
TESTS = {
    "slip": "def test_it():\n    model = Slip()\n    model(torch.ones(64, 32), extra=1)",
    "nested slip": "def test_it():\n    nn.Sequential(nn.Linear(32, 32), Slip()).eval()(torch.ones(64, 32))",
    "right": "def test_it():\n    Right()(torch.ones(64, 32), extra=1)\n    Right().eval()(torch.ones(64, 32))",
    "layers": "def test_it():\n    nn.Dropout(0.5)(torch.ones(64))\n    nn.MSELoss()(torch.ones(2), torch.ones(2))",
    "once": "left = [1]\nclass Once(Right):\n    def forward(self, x):\n        left.pop()\n        return x\n\n"
    "def test_it():\n    Once()(torch.ones(64, 32))",
    "state": "model = Right()\nbefore = {}\n\ndef test_it():\n    torch.manual_seed(3)\n    model(torch.ones(64, 32))\n"
    "    before.update(model.state_dict(), rng=torch.get_rng_state(), mode=model.training)\n\n"
    "def test_after():\n    assert torch.equal(before['rng'], torch.get_rng_state()) and before['mode'] == model.training\n"
    "    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())",
}


def run(folder: Path, name: str, *options: str) -> tuple[int | None, str]:
    """The exit code and the output of a session."""
    (folder / "test_models.py").write_text(MODELS + "\n" + TESTS[name] + "\n")
    line = ("-q", "-p", "thinnet.pytest_plugin", "-p", "no:cacheprovider", *options, ".")
    session = Forked(run_module, folder, "pytest", *line, together=True)
    shown, _ = session.communicate(120)
    return session.returncode, shown


@pytest.mark.parametrize("name", ["slip", "nested slip"])
def test_a_mistake_fails_the_test_that_runs_the_model(tmp_path: Path, name: str) -> None:
    code, shown = run(tmp_path, name, "--dropout-audit")
    assert code == 1 and "AUD101" in shown and "dropout audit:" in shown
    assert run(tmp_path, name)[0] == 0


@pytest.mark.parametrize("name", ["right", "layers", "once", "state"])
def test_there_is_no_false_alarm_and_nothing_changes(tmp_path: Path, name: str) -> None:
    code, shown = run(tmp_path, name, "--dropout-audit")
    assert code == 0, shown
    assert ("Once is skipped" in shown) == (name == "once")


def test_an_intended_finding_is_allowed_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\ndropout_audit_allow =\n    AUD101 *=on purpose\n")
    assert run(tmp_path, "slip", "--dropout-audit")[0] == 0


def test_a_session_without_the_option_does_not_import_torch(tmp_path: Path) -> None:
    (tmp_path / "test_sum.py").write_text("import sys\n\ndef test_it():\n    assert 'torch' not in sys.modules\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "thinnet.pytest_plugin", "-p", "no:cacheprovider", "."]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment(), timeout=120)
    assert shown.returncode == 0, shown.stdout


def test_a_process_that_has_imported_thinnet_can_run_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it():\n    pass\n")
    code = "import sys, thinnet, pytest; sys.exit(pytest.main(['-q', '-W', 'error', '-p', 'no:cacheprovider', '.']))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
