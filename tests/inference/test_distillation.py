"""A student is nearer to the average of the sub-networks than weight scaling, and a run is reproducible."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet.inference import Prediction
from thinnet.inference.deterministic.distillation import distill
from thinnet.inference.deterministic.divergences import divergence

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(256, 6, generator=GENERATOR)
NEW = torch.randn(200, 6, generator=GENERATOR)


def teacher(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(1)
    hidden = nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, outputs)
    model = nn.Sequential(*hidden)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


class TwoHeads(nn.Module):
    """A student with a mean and a log variance."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.body, self.heads = nn.Sequential(nn.Linear(6, 32), nn.ReLU()), nn.Linear(32, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log = self.heads(self.body(x)).chunk(2, -1)
        return mean, log


def test_the_student_is_nearer_to_the_average_than_weight_scaling() -> None:
    model = teacher().train()
    values = [parameter.clone() for parameter in model.parameters()]
    found = distill(
        model, X.split(64), held_out=NEW, epochs=40, optimizer=lambda p: torch.optim.Adam(p, lr=3e-3), progress=False
    )
    scaled, student = found.report["weight scaling"], found.report["student"]
    assert student.mean < scaled.mean / 2
    gain, error = found.gain
    assert gain == pytest.approx(scaled.mean - student.mean, rel=1e-3) and gain > 6 * error
    assert student.parameters == scaled.parameters == sum(p.numel() for p in model.parameters())
    assert found.steps == 160 and not found.interrupted and not found.student.training
    assert not any(isinstance(module, nn.Dropout) for module in found.student.modules())
    assert model.training and all(torch.equal(a, b) for a, b in zip(model.parameters(), values, strict=True))
    assert [line.split("  ")[0].strip() for line in str(found).splitlines()[2:4]] == ["weight scaling", "student"]


def test_the_seed_decides_the_student() -> None:
    model = teacher()
    one, same, other = (distill(model, [X], epochs=2, seed=seed, n=2, progress=False) for seed in (5, 5, 6))
    assert one.losses == same.losses and one.losses != other.losses
    assert all(torch.equal(a, b) for a, b in zip(one.student.parameters(), same.student.parameters(), strict=True))


def test_an_interruption_keeps_the_student() -> None:
    def batches() -> Iterator[Tensor]:
        yield from X.split(64)
        raise KeyboardInterrupt

    model = teacher()
    found = distill(model, batches(), held_out=NEW, n_held_out=20, progress=False)
    whole = distill(model, X.split(64), epochs=1, progress=False)
    assert found.interrupted and found.steps == 4 and "ended by Ctrl-C" in str(found)
    assert all(torch.equal(a, b) for a, b in zip(found.student.parameters(), whole.student.parameters(), strict=True))
    assert found.report["student"].mean < float("inf")


def test_a_given_student_learns_values_and_their_spread() -> None:
    model, student = teacher(1), TwoHeads()
    fast: Any = lambda p: torch.optim.Adam(p, lr=1e-2)  # noqa: E731
    found = distill(model, X.split(64), student, epochs=60, n=16, variance=True, optimizer=fast, held_out=NEW, progress=False)
    assert found.student is student and found.losses[-1] < found.losses[0] / 4
    draws = thinnet.inference.sample(model, NEW, n=200, seed=9).draws
    with torch.no_grad():
        mean, log = student(NEW)
    assert float(torch.corrcoef(torch.stack([mean.flatten(), draws.mean(0).flatten()]))[0, 1]) > 0.9
    ratio = (log / 2).exp() / draws.std(0)
    assert 0.7 < float(ratio.median()) < 1.4
    assert found.report["student"].disagreement is None


def test_batches_of_pairs_and_of_mappings_and_norms_in_eval() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).eval()
    pairs = [(x, torch.zeros(len(x))) for x in X.split(128)]
    one = distill(model, pairs, epochs=1, progress=False)
    other = distill(model, [{"x": x} for x in X.split(128)], epochs=1, inputs=lambda batch: batch["x"], progress=False)
    assert one.losses == other.losses
    norm: Any = one.student.get_submodule("1")
    assert torch.equal(norm.running_mean, torch.zeros(8)) and int(norm.num_batches_tracked) == 0


def test_the_divergence_of_gaussians_equals_torch() -> None:
    draws = torch.randn(50, 7, 2)
    mean, log = torch.randn(7, 2), torch.randn(7, 2)
    given = torch.distributions.Normal(draws.mean(0), draws.std(0, correction=0))
    wanted = torch.distributions.kl_divergence(given, torch.distributions.Normal(mean, (log / 2).exp())).mean(1)
    torch.testing.assert_close(divergence(Prediction(draws, "values"), (mean, log), variance=True), wanted)


@pytest.mark.parametrize("n", [2, 8])
def test_the_best_variance_of_a_student_is_that_of_the_teacher_for_any_n(n: int) -> None:
    draws = Prediction(torch.randn(n, 20000, generator=torch.Generator().manual_seed(3)), "values")  # 20000 batches of one row
    mean, log = torch.zeros(20000), torch.zeros((), requires_grad=True)
    divergence(draws, (mean, log.expand(20000)), variance=True).mean().backward()
    assert abs(float(log.grad)) < 0.03  # at most 4 standard errors; with n - 1 in the variance it is -1 / (2 n)


def test_the_divergence_of_classes_equals_torch() -> None:
    draws, output = torch.randn(50, 7, 4), torch.randn(7, 4)
    p = draws.softmax(-1).mean(0)
    wanted = torch.nn.functional.kl_div(output.log_softmax(-1), p, reduction="none").sum(-1)
    torch.testing.assert_close(divergence(Prediction(draws, "logits"), output), wanted)


class Tupled(nn.Module):
    """A student that returns a list."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x]


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    (dict(n=0), ValueError, "n must be a positive integer; got 0"),
    (dict(epochs=1.5), ValueError, "epochs must be a positive integer; got 1.5"),
    (dict(loader=[]), ValueError, "loader must give batches in each epoch; got none in epoch 0"),
    (dict(loader=iter(X.split(64)), epochs=2), ValueError, "got none in epoch 1"),
    (dict(loader=[{"x": X}]), ValueError, "a batch must have a tensor first; got dict. Give inputs="),
    (dict(student=nn.Linear(6, 2)), ValueError, r"student must return what the model does, \(256, 3\); got \(256, 2\)"),
    (dict(student=lambda x: x), TypeError, "student must be a torch.nn.Module; got function"),
    (dict(held_out=[1, 2]), ValueError, "held_out must be a tensor of inputs; got list"),
    (dict(variance=True), ValueError, "must have a student that returns"),
    (dict(variance=True, student=TwoHeads()), ValueError, "kind must be 'values' for variance=True"),
    (
        dict(variance=True, student=Tupled(), kind="values", optimizer=lambda _: None),
        ValueError,
        r"must return \(mean, log variance\); got list",
    ),
    (dict(variance=True, student=TwoHeads(), n=1), ValueError, "n must be at least 2 for variance=True; got 1"),
]


@pytest.mark.parametrize(("given", "kind", "message"), BAD)
def test_bad_arguments(given: dict[str, Any], kind: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"loader": [X]} | given
    with pytest.raises(kind, match=message):
        distill(teacher(), **arguments, progress=False)


def test_the_teacher_cannot_be_the_student_and_without_held_out_inputs_there_is_no_gain() -> None:
    model = teacher()
    with pytest.raises(ValueError, match="student must be another module than the model"):
        distill(model, [X], model)
    found = distill(model, [X], epochs=1, progress=False)
    assert "no comparison" in str(found)
    with pytest.raises(ValueError, match="there must be held-out inputs"):
        _ = found.gain
