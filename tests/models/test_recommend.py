"""`recommend`: rows for the kind of a network, each with a source and a command that exists."""

import json
import shlex

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import thinnet
from thinnet.cli import app
from thinnet.methods.registry import REGISTRY
from thinnet.models.recommend.evidence import EVIDENCE
from thinnet.study.design.configuration import METHODS, SCHEDULES


def blocks(kind: type[nn.Module], count: int) -> nn.ModuleList:
    return nn.ModuleList([kind() for _ in range(count)])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))


def of(*parts: nn.Module, **known: object) -> list[str]:
    return [row.method for row in thinnet.recommend(nn.ModuleList(parts), **known)]


DENSE = nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2)
VIT = nn.Conv2d(3, 8, 4, 4), blocks(Block, 12), nn.LayerNorm(8), nn.Linear(8, 2)
LANGUAGE = nn.Embedding(50, 8), blocks(Block, 12)


@pytest.mark.parametrize(
    ("parts", "known", "expected"),
    [
        (DENSE, {}, ["Dropout", "GaussianDropout", "max_norm_"]),
        (DENSE, {"samples": 300}, ["none", "Dropout", "GaussianDropout", "max_norm_"]),
        ((nn.Conv2d(3, 8, 3), nn.Linear(8, 2)), {}, ["Dropout"]),
        ((nn.Conv2d(3, 8, 3), blocks(Residual, 9)), {}, ["DropBlock2d", "StochasticDepth", "Cutout"]),
        (VIT, {}, ["DropPath", "PatchDropout"]),
        (LANGUAGE, {"one_pass": True}, ["none", "TokenBypass"]),
        (LANGUAGE, {"fine_tuning": True}, ["NEFTune", "Dropout", "TokenBypass"]),
        ((nn.Embedding(50, 8), nn.LSTM(8, 8)), {}, ["WeightDrop", "EmbeddingDropout", "VariationalLSTM"]),
        ((nn.LSTM(8, 8), nn.Linear(8, 1)), {}, ["VariationalLSTM"]),
        ((nn.LayerNorm(8),), {}, []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_rows_are_of_the_kind_of_the_network(parts, known, expected: list[str]) -> None:
    assert of(*parts, **known) == expected


def test_layers_of_torch_geometric_get_edges_dropped() -> None:
    geometric = pytest.importorskip("torch_geometric.nn")
    assert of(geometric.GCNConv(4, 4), nn.Linear(4, 2)) == ["DropEdge"]


def test_the_size_decides_between_an_early_and_a_late_schedule() -> None:
    small, large = (thinnet.recommend(nn.ModuleList([*VIT, nn.Linear(width, width)])) for width in (2, 6000))
    assert ["--schedules constant,early" in small.rows[0].study, "--schedules constant,late" in large.rows[0].study] == [
        True
    ] * 2


def test_every_claim_has_a_source_with_a_year_and_a_method_that_exists() -> None:
    names = {method.name for method in REGISTRY} | {"none"}
    for row in EVIDENCE:
        assert row.method in names and row.reason and any(letter.isdigit() for letter in row.source)
        assert any(letter.isdigit() for letter in row.effect)
        assert not row.schedule or row.schedule in SCHEDULES
        assert all(0 < p < 1 for p in row.rates)


def test_commands_name_methods_that_a_study_has() -> None:
    for row in thinnet.recommend(nn.ModuleList([*VIT]), file="my file.py"):
        words = shlex.split(row.study)
        assert words[:3] == ["thinnet", "study", "my file.py"]
        if "--methods" in words:
            assert set(words[words.index("--methods") + 1].split(",")) <= METHODS.keys()


def test_what_the_network_has_is_shown_and_the_model_is_unchanged() -> None:
    model = nn.Sequential(*DENSE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    rows = {row.method: row for row in thinnet.recommend(model, torch.randn(4, 8))}
    assert rows["Dropout"].present == "now: 1 site, p = 0.5" and rows["max_norm_"].present == ""
    assert thinnet.recommend(model, input=torch.randn(4, 8)).rows == tuple(rows.values())  # as a keyword
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^recommend: model must be a torch.nn.Module; got type"):
        thinnet.recommend(nn.Linear)
    for samples in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=r"^recommend: samples must be a positive integer"):
            thinnet.recommend(nn.Linear(2, 2), samples=samples)


def test_the_command(tmp_path) -> None:
    file = tmp_path / "net.py"
    file.write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    shown = CliRunner().invoke(app, ["recommend", f"{file}:make", "--samples", "10000"])
    assert shown.exit_code == 0 and "Dropout" in shown.stdout and "JMLR" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["recommend", f"{file}:make", "--json"]).stdout)
    assert [row["method"] for row in found["recommendations"]] == ["Dropout", "GaussianDropout"]
    assert found["recommendations"][0]["use"] == "thinnet.nn.Dropout" and found["traits"]["dense"]
    wrong = CliRunner().invoke(app, ["recommend", f"{file}:nothing"])
    assert wrong.exit_code == 2 and "has no 'nothing'" in wrong.stderr
