"""The devices and the precisions of a study: those of Lightning Fabric, bit by bit."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet import DropoutRNG
from thinnet.study.training.epoch import train_epoch
from thinnet.study.training.perceptron import perceptron
from thinnet.study.training.precision import SHORT, TRUE, Precision, Scaled

X = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> nn.Module:
    torch.manual_seed(0)
    return perceptron(4, (8,), 2, rate=0.5)


def train(ours: nn.Module, model: nn.Module, optimizer: object, backward: object) -> list[float]:
    def loss(output: Tensor, rows: Tensor) -> Tensor:
        assert output.dtype == torch.float32
        return F.cross_entropy(output, Y[rows])

    rng = DropoutRNG(0).bind(ours)
    steps = train_epoch(model, optimizer, rng, X, torch.arange(96).split(8), loss, backward=backward)  # type: ignore[arg-type]
    return [each.item() for each in steps]


def trained(name: str, rate: float = 0.05) -> tuple[nn.Module, list[float]]:
    ours, precision = network(), Precision("cpu", name)
    optimizer = Scaled(torch.optim.SGD(ours.parameters(), lr=rate, momentum=0.9), precision.scaler)
    return ours, train(ours, precision.model(ours), optimizer, precision.backward)


@pytest.mark.parametrize("name", ["32-true", "bf16-mixed", *TRUE, "32", "bf16", "64"])
def test_training_has_the_bits_of_fabric(name: str) -> None:
    fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1, precision=name)
    theirs = network()
    model, optimizer = fabric.setup(theirs, torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9))
    expected = train(theirs, model, optimizer, fabric.backward)
    ours, losses = trained(name)
    assert losses == expected and losses[-1] < losses[0]
    for weight, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert weight.dtype == other.dtype and torch.equal(weight, other)
    assert torch.get_default_dtype() == torch.float32


def test_float16_scales_the_loss_and_takes_no_step_that_overflows() -> None:
    ours, losses = trained("16-mixed")
    _, expected = trained("32-true")
    assert {weight.dtype for weight in ours.parameters()} == {torch.float32}
    assert losses == pytest.approx(expected, rel=1e-2) and losses != expected
    precision = Precision("cpu", SHORT["16"])
    weight = nn.Parameter(torch.ones(1))
    optimizer = Scaled(torch.optim.SGD([weight], lr=1.0), precision.scaler)
    for factor, value in ((torch.inf, 1.0), (1e-6, 1.0 - 1e-6)):
        optimizer.zero_grad()
        precision.backward((weight * factor).sum())
        optimizer.step()
        assert weight.item() == pytest.approx(value, rel=1e-7)


@pytest.mark.parametrize(("device", "name"), [("abacus", "32-true"), ("cuda:9", "32-true"), ("cpu", "3-bit"), ("cpu", "")])
def test_what_does_not_exist_is_refused(device: str, name: str) -> None:
    with pytest.raises(ValueError, match="devices of this machine: cpu" if name == "32-true" else "precisions: 32-true, bf16"):
        Precision(device, name)


def test_the_accelerator_of_a_machine_is_chosen_by_its_name_and_by_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    assert Precision("auto", "32-true").device == Precision("cpu", "32-true").device == cpu
    with pytest.raises(ValueError, match=r"devices of this machine: cpu$"):
        Precision("cuda", "32-true")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for name in ("auto", "cuda", "gpu"):
        assert Precision(name, "32-true", 1).device == torch.device("cuda", 1)
    assert Precision("cpu", "32-true", 1).device == cpu
    for name, index in (("mps", 0), ("cuda", 2)):
        with pytest.raises(ValueError, match="devices of this machine: cpu and cuda, 2 of them"):
            Precision(name, "32-true", index)
