"""The examples run as they are, without a network, and the equalities that they print are true."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet.integrations.keyword import KeywordIds

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {  # the library, how many equalities it prints, and options
    "accelerate_loop": ("accelerate", 1),
    "bert_peft": ("peft", 1),
    "compiled_cuda_dropout": ("torch", 0),
    "concrete_dropout": ("typer", 0, "--quick", "--width", "256", "--threads", "1"),
    "diagnose_digits": ("sklearn", 0),
    "diffusion": ("sklearn", 1),
    "distill": ("sklearn", 1),
    "droq": ("rich", 0),
    "export_onnx": ("onnxruntime", 2),
    "fabric": ("lightning", 2),
    "graph_network": ("torch_geometric", 1),
    "hand_over": ("uncertainty_toolbox", 6),
    "hf_trainer": ("transformers", 3),
    "learned_rates": ("sklearn", 0, "--quick"),
    "lightning_trainer": ("lightning", 2),
    "lstm_language_model": ("torch", 2),
    "monte_carlo": ("sklearn", 1),
    "nanogpt": ("torch", 1),
    "plain_loop": ("sklearn", 1),
    "private_training": ("opacus", 1),
    "ray_workers": ("ray", 1),
    "regression_intervals": ("torchmetrics", 1),
    "skorch_net": ("skorch", 2),
    "sklearn_table": ("plotly", 1),
    "two_views": ("sklearn", 1),
    "vision": ("transformers", 3),
}


def test_every_example_has_its_row() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == NEEDS.keys()


@pytest.mark.parametrize("name", NEEDS)
def test_what_an_example_prints_is_true(name: str, tmp_path: Path) -> None:
    library, claims, *options = NEEDS[name]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed: pip install thinnet[examples]")
    path = EXAMPLES / f"{name}.py"
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, str(path), *options], capture_output=True, text=True, cwd=tmp_path, env=offline)
    assert run.returncode == 0, run.stderr
    printed = [line.rsplit(": ", 1)[1] for line in run.stdout.splitlines() if " equal" in line]
    assert printed == ["True"] * claims, run.stdout
    assert len(path.read_text().splitlines()) <= (120 if options else 80)


def test_ids_among_the_keyword_arguments_never_reach_the_model() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = thinnet.nn.Dropout(0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.drop(x)

    rng, model = thinnet.DropoutRNG(3), Model()
    ids = KeywordIds(rng)
    ids.begin(model)
    ids.begin(model)
    ids.step = 8
    y = model(x=torch.ones(2, 40), sample_ids=torch.tensor([9, 5]))
    assert torch.equal(y != 0, rng.mask("drop", step=8, samples=[9, 5], shape=(40,)))
    with pytest.raises(ValueError, match=r"a training batch must hold ids as 'sample_ids'; got \['x'\]"):
        model(x=torch.ones(2, 40))
    assert model.eval()(x=torch.ones(2, 40), sample_ids=torch.tensor([9, 5])).all()
    other = Model()
    ids.begin(other)
    assert model.drop.context is None and other.drop.context is rng.context


class Faulty(nn.Dropout):
    """Has the fault that `compiled_cuda_dropout` shows: four channels share a mask, and backward uses another one."""

    class Noise(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor, kept: Tensor) -> Tensor:
            return torch.where(kept, x * 2, 0)

        @staticmethod
        def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
            return torch.where(torch.rand_like(gradient) >= 0.5, gradient * 2, 0), None

    def forward(self, x: Tensor) -> Tensor:
        drawn = torch.rand(*x.shape[:-1], x.shape[-1] // 4).repeat_interleave(4, -1)
        return self.Noise.apply(x, drawn >= 0.5) if self.training else x


def test_the_example_of_a_fault_on_a_gpu_tells_it_from_right_dropout(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    specification = importlib.util.spec_from_file_location("example", EXAMPLES / "compiled_cuda_dropout.py")
    example = importlib.util.module_from_spec(specification)  # type: ignore[arg-type]
    specification.loader.exec_module(example)  # type: ignore[union-attr]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    example.main()
    assert capsys.readouterr().out.count(".\n") == 1
    monkeypatch.setattr(example, "LENGTH", 512)
    right, wrong = (example.report(drop, "cpu", "aot_eager").values() for drop in (thinnet.nn.Dropout(0.5), Faulty(0.5)))
    assert [*right] == ["0.0%", "100.0%", []]
    copied, same, errors = wrong
    assert float(copied.rstrip("%")) == pytest.approx(100 * 48 / 63, abs=0.1)  # 3 of 4 channels, of those with one before
    assert float(same.rstrip("%")) == pytest.approx(50, abs=1) and errors == ["AUD203"]
