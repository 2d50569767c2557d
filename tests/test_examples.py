"""The examples run as they are, without a network, and the equalities that they print are true."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import thinnet
from thinnet.integrations.keyword import KeywordIds

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {  # the library, how many equalities it prints, and options
    "accelerate_loop": ("accelerate", 1),
    "bert_peft": ("peft", 1),
    "concrete_dropout": ("typer", 0, "--quick"),
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
