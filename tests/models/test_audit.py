"""An audit finds each defect in a small network, and nothing in a correct network."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import torch
import torch._functorch.config as functorch
import torch.nn.functional as F
from networks import Checkpointed, Everything, FixedDropBlock, HandWritten
from processes import environment
from rows import ROWS
from rows.row import Row
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.models.audit.audit import assert_dropout_right, audit

X = torch.randn(64, 32, generator=torch.Generator().manual_seed(0))
MAPS = torch.randn(8, 4, 7, 7, generator=torch.Generator().manual_seed(1))


class Network(nn.Module):
    """A network whose forward pass is a function of its layers and its input."""

    def __init__(self, forward, **layers: nn.Module) -> None:
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def mlp(*middle: nn.Module, outputs: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.Linear(32, 64), nn.ReLU(), *middle, nn.Linear(64, outputs))


def between(middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 8, 1), middle, nn.Conv2d(8, 4, 1))


class TrainedInEval(nn.Dropout):
    """A dropout module that ignores its mode and never drops."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=False)


def same_for_all(self: nn.Module, x: Tensor) -> Tensor:
    x = torch.relu(self.linear(x))  # type: ignore[operator]
    return x.sin() * torch.bernoulli(torch.full((1, 32), 0.5)) / 0.5 if self.training else x.sin()


def unscaled(self: nn.Module, x: Tensor) -> Tensor:
    x = torch.relu(self.linear(x))  # type: ignore[operator]
    x = x * torch.bernoulli(torch.full(x.shape, 0.5)) if self.training else x
    return self.last(x)  # type: ignore[operator]


def attend(x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=0.2)


class OtherMask(torch.autograd.Function):
    """Dropout whose backward pass has the mask of other units."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        mask = torch.empty_like(x).bernoulli_(0.5) * 2
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].flip(0)


def steep(self: nn.Module, x: Tensor) -> Tensor:
    return self.last(self.drop((1e5 * self.linear(x)).sin()))  # type: ignore[operator]


def straight_through(self: nn.Module, x: Tensor) -> Tensor:
    x = self.drop(self.linear(x))  # type: ignore[operator]
    return self.last(x + (x.round() - x).detach())  # type: ignore[operator]


def reversed_gradient(self: nn.Module, x: Tensor) -> Tensor:
    x = self.drop(self.linear(x))  # type: ignore[operator]
    return self.last(2 * x.detach() - x if self.training else x)  # type: ignore[operator]


class Normalised(nn.Module):
    """In training, the forward pass writes into a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(32, 64), nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.one.weight.data = F.normalize(self.one.weight.data)
        return self.two(F.dropout(self.one(x).relu(), 0.3, self.training))


LAST = dict(linear=nn.Linear(32, 32), last=nn.Linear(32, 4))
DEFECTS: dict[str, tuple[str, nn.Module, Tensor]] = {
    "functional dropout that ignores the mode": (
        "AUD101",
        Network(lambda self, x: self.last(F.dropout(torch.relu(self.linear(x)), 0.5)), **LAST),
        X,
    ),
    "attention dropout that ignores the mode": (
        "AUD101",
        Network(
            lambda self, x: self.last(F.scaled_dot_product_attention(*[self.linear(x)[:, None, None]] * 3, dropout_p=0.2)),
            **LAST,
        ),
        X,
    ),
    "dropout that is never on": ("AUD103", mlp(TrainedInEval(0.5)), X),
    "drop block with block centres at the border": (
        "AUD201",
        nn.Sequential(nn.Conv2d(4, 8, 1), FixedDropBlock(0.1, 7, factor_of_mask=False), nn.Conv2d(8, 4, 1)),
        MAPS,
    ),
    "kept units that are not scaled": ("AUD202", Network(unscaled, **LAST), X),
    "a checkpoint without the generator's state": ("AUD203", Checkpointed(False, nn.Dropout(0.5)), X),
    "a checkpoint without the generator's state, our dropout": ("AUD203", Checkpointed(False, thinnet.nn.Dropout(0.5)), X),
    "a backward pass with another mask": (
        "AUD203",
        Network(lambda self, x: self.last(OtherMask.apply(self.linear(x)) if self.training else self.linear(x)), **LAST),
        X,
    ),
    "dropout on the output": ("AUD301", nn.Sequential(mlp(), nn.Dropout(0.5)), X),
    "dropout twice": ("AUD303", mlp(nn.Dropout(0.5), nn.Dropout(0.1)), X),
    "dropout before batch normalisation": ("AUD306", mlp(nn.Dropout(0.5), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()), X),
    "one mask for all samples": ("AUD401", Network(same_for_all, **LAST), X),
    "alpha dropout after a ReLU": ("AUD501", mlp(nn.AlphaDropout(0.1)), X),
    "dropout of a single layer": ("AUD502", Network(lambda self, x: self.rnn(x)[0], rnn=nn.GRU(32, 8, dropout=0.5)), X),
}
NOTES: dict[str, tuple[str, nn.Module, Tensor]] = {
    "dropout before one output": ("AUD302", mlp(nn.Dropout(0.5), outputs=1), X),
    "a sample of a distribution": ("AUD102", Network(lambda self, x: self.linear(x) + torch.randn_like(x), **LAST), X),
    "a module that nothing runs": ("AUD105", Network(lambda self, x: self.linear(x), unused=nn.Dropout(0.5), **LAST), X),
    "rate zero": ("AUD106", mlp(nn.Dropout(0.0)), X),
    "after every layer": (
        "AUD304",
        nn.Sequential(
            *(layer for _ in range(5) for layer in (nn.Linear(32, 32), nn.ReLU(), thinnet.nn.Dropout(0.1))), nn.Identity()
        ),
        X,
    ),
    "on the input": ("AUD305", nn.Sequential(nn.Dropout(0.5), nn.Linear(32, 4)), X),
    "a mask that multiplies": ("AUD503", mlp(nn.Dropout(0.5)), X),
    "dropout that is no module": ("AUD505", nn.Sequential(nn.Linear(32, 32), HandWritten(0.2, False), nn.Linear(32, 4)), X),
}
RIGHT: dict[str, tuple[nn.Module, Tensor]] = {
    "dropout": (mlp(nn.Dropout(0.5)), X),
    "our dropout": (mlp(thinnet.nn.Dropout(0.5)), X),
    "alpha dropout": (nn.Sequential(nn.Linear(32, 64), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(64, 4)), X),
    "drop-path by hand": (mlp(HandWritten(0.3, True), nn.Linear(64, 64), HandWritten(0.3, False)), X),
    "drop block with a factor of its mask": (between(FixedDropBlock(0.1, 7)), MAPS),
    "drop block": (between(thinnet.nn.DropBlock2d(0.1, 7)), MAPS),
    "after batch normalisation": (mlp(nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5)), X),
    "a checkpoint": (Checkpointed(True, nn.Dropout(0.5)), X),
    "a steep function": (
        Network(lambda self, x: self.last(self.drop((1e3 * self.linear(x)).sin())), drop=nn.Dropout(0.5), **LAST),
        X,
    ),
    "a straight-through estimator": (Network(straight_through, drop=nn.Dropout(0.1), **LAST), X),
    "a reversed gradient in training": (Network(reversed_gradient, drop=nn.Dropout(0.1), **LAST), X),
    "weights written in the forward pass": (Normalised(), X),
    "an encoder layer": (nn.TransformerEncoderLayer(32, 2, 64, batch_first=True), X[:, None]),
}


def codes(model: nn.Module, x: Tensor, counted: bool = True) -> set[str]:
    return {finding.rule.code for finding in audit(model, x) if finding.fails or not counted}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found(name: str) -> None:
    code, model, x = DEFECTS[name]
    assert code in codes(model, x)


@pytest.mark.parametrize("name", NOTES)
def test_a_note_is_made_and_does_not_count(name: str) -> None:
    code, model, x = NOTES[name]
    findings = audit(model, x)
    assert code in {finding.rule.code for finding in findings}
    assert not [finding for finding in findings if finding.rule.code == code and finding.fails]


@pytest.mark.parametrize("name", RIGHT)
def test_a_correct_network_has_no_findings(name: str) -> None:
    model, x = RIGHT[name]
    assert_dropout_right(model, x)


@pytest.mark.parametrize("dropout", [nn.Dropout(0.5), thinnet.nn.Dropout(0.5)])
def test_the_module_that_draws_again_for_backward_is_named(dropout: nn.Module) -> None:
    places = [finding.module for finding in audit(Checkpointed(False, dropout), X) if finding.rule.code == "AUD203"]
    assert places == ["block.2"]


def test_the_audit_takes_no_draw_of_its_own_for_a_recomputation() -> None:
    model = Network(lambda self, x: self.last(F.dropout(torch.relu(self.linear(x)), 0.5, self.training)), **LAST)
    model.last = nn.Linear(32, 32)
    assert "AUD203" not in codes(model, X)


def test_a_reentrant_checkpoint_is_audited() -> None:
    class Reentrant(Checkpointed):
        def forward(self, x: Tensor) -> Tensor:
            return self.block(checkpoint(torch.relu, self.block[0](x), use_reentrant=True))

    assert_dropout_right(Reentrant(True, nn.Dropout(0.2)), X)


def test_addressed_masks_make_a_checkpoint_correct() -> None:
    model = Checkpointed(False, thinnet.nn.Dropout(0.5))
    thinnet.DropoutRNG(1).bind(model).at(0)
    assert_dropout_right(model, X)


@pytest.mark.parametrize("step", [None, 3])
def test_a_bound_model_is_audited_at_steps_of_the_audit(step: int | None) -> None:
    """So its batch may have other rows than the last step, and no mask counts twice in a measured rate."""
    model = mlp(thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(1).bind(model)
    if step is not None:
        rng.at(step, samples=[5, 6])
        before = model(X[:2])
    for rows in (1, 4):
        (site,) = thinnet.sites(model, X[:rows], passes=64)
        alone = thinnet.sites(model, X[:rows], passes=1)[0].measured
        assert site.measured is not None and abs(site.measured - 0.5) < 0.1 and site.measured != alone
        assert_dropout_right(model, X[:rows])
    assert rng.step == step
    if step is not None:
        assert torch.equal(model(X[:2]), before)


def test_compiled_code_that_recomputes_other_masks() -> None:
    """PyTorch's defect, pytorch#190717: with a memory budget, masks are drawn anew for the backward pass."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Dropout(0.4), nn.Linear(128, 32))
    for budget, expected in ((1.0, set()), (0.0, {"AUD203"})):
        torch._dynamo.reset()
        with functorch.patch(activation_memory_budget=budget):
            assert codes(torch.compile(nn.Sequential(block, nn.Tanh(), nn.Linear(32, 4))), X) == expected  # type: ignore[arg-type]


def test_a_module_left_in_eval_is_found() -> None:
    model = mlp(nn.Dropout(0.5))
    model[2].eval()
    assert "AUD104" in codes(model, X)
    assert "AUD104" not in codes(model.eval(), X)


def test_a_frozen_backbone_may_be_in_eval() -> None:
    model = nn.Sequential(mlp(nn.Dropout(0.5)), nn.ReLU(), nn.Dropout(0.2), nn.Linear(10, 4))
    model[0].eval()
    assert codes(model, X) == {"AUD104"}
    model[0].requires_grad_(False)
    assert codes(model, X) == set()


def test_a_frozen_site_may_be_off() -> None:
    model = mlp(nn.Dropout(0.5))
    thinnet.freeze(model)
    assert codes(model.train(), X) == set()


def test_an_unread_penalty_is_found() -> None:
    model = nn.Sequential(nn.Linear(32, 8), thinnet.nn.VariationalDropout(8), nn.Linear(8, 2))
    assert "AUD504" not in codes(model, X)
    model(X)
    assert "AUD504" in codes(model, X)
    model(X)
    thinnet.penalty(model, samples=100)
    assert "AUD504" not in codes(model, X)


def test_a_finding_is_allowed_with_a_reason() -> None:
    model = DEFECTS["functional dropout that ignores the mode"][1]
    allowed = audit(model, X, allow={"AUD101 *": "the decoder samples"})
    assert not allowed.failed and any(finding.allowed == "the decoder samples" for finding in allowed)
    with pytest.raises(ValueError, match=r"^audit: allow must give a reason"):
        audit(model, X, allow={"AUD101": " "})


def test_the_example_may_come_from_a_loader() -> None:
    loader = [(X, torch.zeros(64)), (X, torch.zeros(64))]
    assert {finding.rule.code for finding in audit(DEFECTS["dropout twice"][1], loader=loader) if finding.fails} == {"AUD303"}
    with pytest.raises(ValueError, match=r"^audit: example must be what the model is called with"):
        audit(mlp())


def test_findings_are_data_for_other_programs() -> None:
    findings = audit(Everything(), torch.randn(16, 10, 16))
    assert findings.failed
    assert [entry["code"] for entry in json.loads(findings.json())] == [finding.rule.code for finding in findings]
    run = json.loads(findings.sarif())["runs"][0]
    assert {result["ruleId"] for result in run["results"]} == {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    places = [result["locations"][0]["physicalLocation"] for result in run["results"] if "locations" in result]
    assert all(place["region"]["startLine"] > 0 and place["artifactLocation"]["uri"].endswith(".py") for place in places)
    suite = ElementTree.fromstring(findings.junit())
    assert int(suite.get("failures", 0)) == len(suite.findall("testcase/failure")) == sum(f.fails for f in findings)
    assert all(finding.message in str(findings) and finding.remedy in str(findings) for finding in findings)


def test_the_assertion_names_the_findings() -> None:
    with pytest.raises(AssertionError, match=r"1 to fix\nAUD303 warning: dropout twice in a row at 3"):
        assert_dropout_right(DEFECTS["dropout twice"][1], X)


def test_ranks_with_the_same_seed_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(states: list[object], mine: object) -> None:
        states[:] = [mine] * len(states)

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    ours = mlp(thinnet.nn.Dropout(0.5))
    assert "AUD402" in codes(mlp(nn.Dropout(0.5)), X) and "AUD402" in codes(ours, X)
    thinnet.DropoutRNG(1).bind(ours).at(0, torch.arange(64))
    assert "AUD402" not in codes(ours, X)  # the ranks have different sample ids


class Between(nn.Module):
    """A method between two functions, so that it is neither on the input nor on the output."""

    def __init__(self, method: nn.Module) -> None:
        super().__init__()
        self.method, self.weight = method, nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.method(F.selu(x * self.weight)) * self.weight)


@pytest.mark.parametrize("row", {row.name: row for row in ROWS}.values(), ids=lambda row: row.name)
def test_every_method_of_thinnet_passes_the_audit(row: Row) -> None:
    assert_dropout_right(Between(row.module(0.3)), row.inputs((32, *row.shapes[-1][1:])), passes=4)


def test_the_assertion_holds_under_optimised_python() -> None:
    code = "import torch, thinnet; m = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Dropout(0.5))\n"
    code += "m.forward = lambda x: torch.nn.functional.dropout(x, 0.5); thinnet.assert_dropout_right(m, torch.randn(64, 8))"
    run = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, env=environment())
    assert run.returncode == 1 and "AssertionError" in run.stderr and "AUD101" in run.stderr
