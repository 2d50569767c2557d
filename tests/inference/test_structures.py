"""MC mode and sampling on structures of real models: auxiliary heads, experts, sequences first, other lengths, scripts."""

from typing import Any

import pytest
import torch
from assertions import assert_same_bits
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from zoo import ZOO, outputs, pretrained

import thinnet
from thinnet.inference import mc_mode, sample

X = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))
MASK = torch.triu(torch.ones(9, 9), 1).bool()
TOKENS = torch.randint(1, 20, (6, 9), generator=torch.Generator().manual_seed(1))
TOKENS[3:, 5:] = 0


class Auxiliary(nn.Module):
    """As GoogLeNet: the mode of the root adds a head, with dropout of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(16, 16), nn.Sequential(nn.Dropout(0.3), nn.Linear(16, 4))
        self.auxiliary = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Any:
        x = self.body(x)
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


class CalledInTraining(nn.Module):
    """The mode of the parent decides whether its dropout module runs."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(x) if self.training else x)


class Experts(nn.Module):
    """A mixture: each expert has the tokens that choose it."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.router, self.head = nn.Dropout(0.3), nn.Linear(16, 4), nn.Linear(16, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.2)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        weight, chosen = self.router(x).softmax(-1).max(-1)
        y = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            at = (chosen == number).nonzero()[:, 0]
            if len(at):
                y[at] = expert(x[at]) * weight[at, None]
        return self.head(y)


class SequenceFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, 0.2), 2)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.head(self.encoder(x, mask=mask))


class Longest(nn.Module):
    """The output is as long as the longest sequence of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.drop, self.head = nn.Embedding(20, 8), nn.Dropout(0.3), nn.Linear(8, 4)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.drop(self.words(ids[:, : int((ids != 0).sum(1).max())])))


class OnlySix(CalledInTraining):
    """Runs on no other number of rows, and says nothing about it."""

    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == 12
        return self.head(self.drop(x))


class Targets(CalledInTraining):
    """As a detector: in training it takes targets."""

    def forward(self, x: Tensor, targets: Any = None) -> Tensor:
        if self.training and targets is None:
            raise ValueError
        return self.head(self.drop(x))


MODELS: dict[str, tuple[type[nn.Module], Any]] = {
    "auxiliary head": (Auxiliary, X),
    "called in training": (CalledInTraining, X),
    "experts": (Experts, X),
    "sequence first": (SequenceFirst, (torch.randn(9, 4, 16), MASK)),
    "longest": (Longest, TOKENS),
    "one number of rows": (OnlySix, X),
    "targets": (Targets, X),
}


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", MODELS)
def test_mc_mode_returns_what_eval_returns_and_drops(name: str) -> None:
    kind, inputs = MODELS[name]
    model = kind().eval()
    expected = outputs(model, inputs)
    with mc_mode(model), torch.no_grad():
        drawn = [outputs(model, inputs) for _ in range(6)]
        assert all([each.shape for each in out] == [each.shape for each in expected] for out in drawn)
        assert any(not out[0].equal(drawn[0][0]) for out in drawn[1:])
    for one, other in zip(outputs(model, inputs), expected, strict=True):
        assert_same_bits(one, other)


@pytest.mark.parametrize("name", MODELS)
def test_sampling_goes_on_and_leaves_everything_unchanged(name: str) -> None:
    kind, inputs = MODELS[name]
    model = kind().eval()
    (expected,) = outputs(model, inputs)
    before, random, given = state_of(model), torch.get_rng_state(), tree_map(torch.clone, inputs)
    found = sample(model, inputs, n=5)
    assert found.draws.shape == (5, *expected.shape) and float(found.std.max()) > 0
    assert all(before[key].equal(value) for key, value in model.state_dict().items())
    assert torch.get_rng_state().equal(random)
    assert all(torch.equal(one, other) for one, other in zip(given, inputs, strict=True))


def test_parts_of_a_batch_of_other_lengths_run_together() -> None:
    model = Longest().eval()
    found = sample(model, TOKENS, n=3, batch_size=6)
    assert found.draws.shape == (3, 6, 9, 4) and found.notes == (
        "samples depend on one another: a draw of one depends on its batch",
    )


class Halting(CalledInTraining):
    """The length of the output depends on the mask."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(x))[:, None].expand(-1, 1 + int((self.drop(x)[0] == 0).sum()), -1)


def test_draws_of_other_lengths_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"the output must have one shape in all draws; got .* and .*output="):
        sample(Halting().eval(), X, n=8)
    assert sample(Halting().eval(), X, n=8, output=lambda out: out.mean(1)).draws.shape == (8, 12, 4)


def test_a_site_without_the_rows_of_the_batch_is_noted() -> None:
    found = sample(Experts().eval(), X, n=4)
    assert not found.addressed and "axis 0 does not count the samples at experts.0.1" in found.notes


@pytest.fixture(scope="module")
def scripted() -> nn.Module:
    return torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5)))


TOOLS = {"mc_mode": mc_mode, "sample": lambda model: sample(model, X), "freeze": thinnet.freeze, "strip": thinnet.strip}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_scripted_dropout_is_refused_in_words(tool: Any, scripted: nn.Module) -> None:
    with pytest.raises(TypeError, match="a RecursiveScriptModule, whose dropout is compiled in"):
        tool(scripted)
    with pytest.raises(TypeError, match="'0' is a RecursiveScriptModule with dropout, whose mode is compiled in"):
        tool(nn.Sequential(scripted, nn.Dropout(0.5), nn.Linear(16, 4)))


def test_a_scripted_part_without_dropout_is_no_obstacle() -> None:
    model = nn.Sequential(torch.jit.script(nn.Linear(16, 16)), nn.Dropout(0.5), nn.Linear(16, 4)).eval()
    assert float(sample(model, X, n=4).std.max()) > 0
    with mc_mode(model):
        assert not model(X).equal(model(X))


@pytest.mark.parametrize("name", ZOO)
def test_pretrained_models_are_sampled(name: str) -> None:
    model, inputs = pretrained(name)
    model.eval()
    before = state_of(model)
    with torch.no_grad():
        expected = outputs(model, inputs)
    with mc_mode(model), torch.no_grad():
        assert not model.training
        drawn = [outputs(model, inputs) for _ in range(4)]
        assert all([each.shape for each in out] == [each.shape for each in expected] for out in drawn)
        assert any(not out[0].equal(drawn[0][0]) for out in drawn[1:])
    found = sample(model, inputs, n=3, output=lambda out: outputs(lambda: out, ())[0])
    assert found.draws.shape == (3, *expected[0].shape) and float(found.std.max()) > 0
    assert all(before[key].equal(value) for key, value in model.state_dict().items())
