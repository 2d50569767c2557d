"""`thinnet.optim` takes compact gradients from thinned layers and equals `torch.optim` on the full gradient."""

import copy
import gc
import inspect
import io
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thinnet
from thinnet import optim
from thinnet.ops import schema, update
from thinnet.ops.compact import CompactGradient, Part
from thinnet.ops.take import put

kernels = pytest.mark.skipif(schema.missing is not None, reason="there are no compiled kernels")
CLASSES = ("SGD", "AdamW")
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {},
        {"weight_decay": 0.1, "maximize": True},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "foreach": True},
        {"momentum": 0.9, "fused": True, "lr": torch.tensor(0.05)},
    ],
    "AdamW": [
        {"eps": 1e-3},
        {"eps": 1e-3, "weight_decay": 0.2, "amsgrad": True, "maximize": True},
        {"fused": True, "betas": (0.8, 0.9), "eps": 1e-3},
    ],
}
EACH = [(name, options) for name in CLASSES for options in OPTIONS[name]]
X = torch.randn(6, 13)


def network() -> nn.Module:
    """A thinned network whose masks depend on the step alone."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(13, 64),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(64, 48, bias=False),
        nn.Tanh(),
        nn.Dropout(0.3),
        nn.Linear(48, 3),
    )
    thinnet.thin(model, X, always=True)
    thinnet.DropoutRNG(3).bind(model.train())
    return model


def backward(model: nn.Module, step: int) -> Tensor:
    thinnet.rng_of(model).at(step)
    loss = (model(X) - torch.linspace(0, 1, 3)).square().mean()
    loss.backward()
    return loss


def compact(model: nn.Module) -> list[bool]:
    """Whether the gradient of each matrix is compact."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.ndim == 2]
    return [type(gradient) is CompactGradient and gradient.held.part is not None for gradient in gradients]


Train = Callable[[nn.Module, torch.optim.Optimizer, int], object]


def plain(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad()
    backward(model, step)
    optimiser.step()


def trained(
    make: Any, options: dict[str, Any], train: Train = plain, steps: int = 5
) -> tuple[nn.Module, torch.optim.Optimizer]:
    model = network()
    optimiser = make(model.parameters(), **{"lr": 0.05, **options})
    for step in range(steps):
        train(model, optimiser, step)
    return model, optimiser


def assert_equal_training(name: str, options: dict[str, Any], train: Train = plain) -> None:
    ours, theirs = (trained(getattr(module, name), options, train) for module in (optim, torch.optim))
    torch.testing.assert_close(list(ours[0].parameters()), list(theirs[0].parameters()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours[1].state_dict()["state"], theirs[1].state_dict()["state"], rtol=1e-5, atol=1e-6)


@kernels
@pytest.mark.parametrize(("name", "options"), EACH, ids=str)
def test_training_equals_that_of_pytorch(name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    for kernel in ("sgd", "adamw"):
        call = getattr(update, kernel)
        monkeypatch.setattr(update, kernel, lambda *args, call=call, **named: (ran.append(1), call(*args, **named)))
    assert_equal_training(name, options)
    first = 1 if "momentum" in options else 0  # the first step copies the gradient to the buffer
    assert len(ran) == 3 * (5 - first)


@kernels
@pytest.mark.parametrize("taken", ["rows", "columns", "both"])
@pytest.mark.parametrize(("name", "options"), [*EACH, ("AdamW", {}), ("AdamW", {"amsgrad": True})], ids=str)
def test_a_step_equals_that_of_pytorch_to_rounding(name: str, options: dict[str, Any], taken: str) -> None:
    """At most a few units in the last place of each number, over several steps and several tasks of the kernel."""
    torch.manual_seed(1)
    one, other = (nn.Parameter(torch.linspace(-1, 1, 300 * 131).reshape(300, 131)) for _ in range(2))
    ours, theirs = (getattr(module, name)([x], **{"lr": 0.05, **options}) for module, x in ((optim, one), (torch.optim, other)))
    for _ in range(5):
        rows = None if taken == "columns" else torch.randperm(300)[:140].sort().values[None]
        columns = None if taken == "rows" else torch.randperm(131)[:70].sort().values[None]
        part = torch.randn(1, 300 if rows is None else 140, 131 if columns is None else 70)
        held = Part(part, rows, columns, one.shape)
        one.grad, other.grad = CompactGradient(held), put(part, rows, columns, one.shape)
        ours.step(), theirs.step()
    assert held.part is not None
    torch.testing.assert_close(one, other, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(ours.state_dict()["state"], theirs.state_dict()["state"], rtol=2e-6, atol=2e-6)


@kernels
def test_only_a_requested_gradient_is_compact() -> None:
    model = network()
    backward(model, 0)
    assert compact(model) == [False] * 3
    optimiser = optim.SGD(model[3].parameters())
    model.zero_grad()
    backward(model, 0)
    assert compact(model) == [False, True, False] and model[0].bias.grad is not None
    del optimiser
    gc.collect()
    model.zero_grad()
    backward(model, 0)
    assert compact(model) == [False] * 3
    optimiser = copy.deepcopy(optim.SGD(model.parameters()))  # has copies of the parameters
    optimiser.param_groups[0]["params"] = []
    model.zero_grad()
    backward(model, 0)
    assert compact(model) == [False] * 3


@kernels
def test_who_reads_a_gradient_sees_all_of_it() -> None:
    dense, model = network(), network()
    backward(dense, 0)
    optimiser = optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    for read in (
        lambda g: g,
        lambda g: g.clone(),
        lambda g: torch.from_numpy(g.numpy()),
        lambda g: g.detach().data,
        lambda g: copy.deepcopy(g),
        lambda g: torch.tensor(g.tolist()),
        lambda g: g.view(-1).view(g.shape),
        lambda g: torch.stack([g, g])[0],
        lambda g: g.mul_(1),
        lambda g: torch._foreach_add([g], 0)[0],
        lambda g: pickled(g),
    ):
        optimiser.zero_grad()
        backward(model, 0)
        assert compact(model) == [True] * 3
        for one, other in zip(model.parameters(), dense.parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            assert one.grad.shape == other.grad.shape and one.grad.dtype == other.grad.dtype
            assert torch.equal(read(one.grad), other.grad)
            assert repr(one.grad) == repr(other.grad)
        optimiser.step()


def pickled(tensor: Tensor) -> Tensor:
    stored = io.BytesIO()
    torch.save(tensor, stored)
    stored.seek(0)
    return torch.load(stored)


def accumulating(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad(set_to_none=step % 2 == 0)
    backward(model, 2 * step)
    backward(model, 2 * step + 1)
    optimiser.step()


def clipping(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad()
    backward(model, step)
    before = nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    after = nn.utils.get_total_norm([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    assert before > 0.02 and after < 0.0101
    nn.utils.clip_grad_value_(model.parameters(), 1e-3)
    optimiser.step()


def written(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad()
    backward(model, step)
    assert model[3].weight.grad is not None and model[0].weight.grad is not None
    model[3].weight.grad[:2] += 1
    model[0].weight.grad.data.copy_(torch.ones(64, 13))
    optimiser.step()


def doubled(parameter: Tensor) -> None:
    assert parameter.grad is not None
    parameter.grad.mul_(2)


def hooked(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad()
    handle = model[3].weight.register_hook(lambda gradient: gradient * 3)
    other = model[0].weight.register_post_accumulate_grad_hook(doubled)
    backward(model, step)
    handle.remove(), other.remove()
    optimiser.step()


def scaled(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    optimiser.zero_grad()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    thinnet.rng_of(model).at(step)
    scaler.scale(model(X).square().mean()).backward()
    scaler.step(optimiser)
    scaler.update()


def closing(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    def closure() -> Tensor:
        optimiser.zero_grad()
        return backward(model, step)

    assert optimiser.step(closure) is not None  # type: ignore[func-returns-value]


def read_afterwards(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
    plain(model, optimiser, step)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


@kernels
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    "train", [accumulating, clipping, written, hooked, scaled, closing, read_afterwards], ids=lambda train: train.__name__
)
def test_whoever_changes_gradients_changes_the_step(train: Train, name: str) -> None:
    for options in OPTIONS[name][-1:] if train is scaled else OPTIONS[name][:3:2]:
        assert_equal_training(name, options, train)


@kernels
@pytest.mark.parametrize("name", CLASSES)
def test_checkpoints_go_both_ways(name: str) -> None:
    options = {"weight_decay": 0.1, **({"momentum": 0.9} if name == "SGD" else {})}
    expected = None
    for first, second in itertools.product((optim, torch.optim), repeat=2):
        model, optimiser = trained(getattr(first, name), options, steps=3)
        stored = io.BytesIO()
        torch.save(optimiser.state_dict(), stored)
        stored.seek(0)
        other = getattr(second, name)(model.parameters())
        other.load_state_dict(torch.load(stored))
        assert other.state_dict()["param_groups"] == optimiser.state_dict()["param_groups"]
        for step in range(3, 6):
            plain(model, other, step)
            assert compact(model) == [second is optim] * 3
        found = [parameter.detach().clone() for parameter in model.parameters()]
        expected = expected or found
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@kernels
def test_groups_and_schedulers_act_on_each_parameter() -> None:
    found = []
    for module in (optim, torch.optim):
        model = network()
        optimiser = module.AdamW([{"params": model[0].parameters(), "lr": 0.5}, {"params": model[3].parameters()}], lr=0.01)
        optimiser.add_param_group({"params": model[6].parameters(), "weight_decay": 0.9, "amsgrad": True})
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)
        fired = []
        optimiser.register_step_post_hook(lambda *_, fired=fired: fired.append(1))
        for step in range(4):
            plain(model, optimiser, step)
            assert compact(model) == [module is optim] * 3
            schedule.step()
        assert len(fired) == 4
        found.append(list(model.parameters()))
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


@kernels
def test_a_copy_of_model_and_optimiser_goes_on() -> None:
    ours = trained(optim.SGD, {"momentum": 0.9}, steps=2)
    model, optimiser = copy.deepcopy(ours)
    model.zero_grad()
    backward(model, 2)
    assert compact(model) == [True] * 3
    for step in range(2, 4):
        plain(model, optimiser, step)
        plain(*ours, step)
    torch.testing.assert_close(list(model.parameters()), list(ours[0].parameters()))


@pytest.mark.parametrize("name", CLASSES)
def test_the_constructor_is_that_of_pytorch(name: str) -> None:
    ours, theirs = getattr(optim, name), getattr(torch.optim, name)
    assert inspect.signature(ours) == inspect.signature(theirs) and issubclass(ours, theirs)
    with pytest.raises(ValueError, match="Invalid learning rate"):
        ours([nn.Parameter(torch.ones(2))], lr=-1.0)
    with pytest.raises(RuntimeError, match="cannot be `True` together"):
        ours([nn.Parameter(torch.ones(2))], foreach=True, fused=True)


@kernels
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_other_dtypes_have_full_gradients(dtype: torch.dtype) -> None:
    model = network().to(dtype)
    thinnet.rng_of(model).at(0)
    optimiser = optim.AdamW(model.parameters())
    model(X.to(dtype)).sum().backward()
    assert compact(model) == [False] * 3
    optimiser.step()


@kernels
def test_the_kernels_refuse_what_does_not_fit() -> None:
    x, part = torch.ones(3, 4), torch.ones(2, 4)
    options = 0.1, 0.0, 0.0, 0.0, False, False
    for wrong, why in (
        ((x.t(), None, part, None, None), "must be contiguous float32"),
        ((x, torch.ones(3, 5), part, None, None), "must be contiguous float32"),
        ((x, None, part, None, None), "must have all rows"),
        ((x, None, part, torch.tensor([0, 3]), None), "an index must be below 3; got 3"),
        ((x, None, part, torch.tensor([0]), None), "a place for each row"),
    ):
        with pytest.raises(RuntimeError, match=why):
            torch.ops.thinnet.sgd_(*wrong, *options)


@kernels
@pytest.mark.parametrize("name", CLASSES)
def test_a_compiled_step_is_a_plain_one(name: str) -> None:
    def compiling(model: nn.Module, optimiser: torch.optim.Optimizer, step: int) -> None:
        optimiser.zero_grad()
        backward(model, step)
        torch.compile(optimiser.step, backend="eager")()

    make, options = getattr(optim, name), OPTIONS[name][0]
    ours, theirs = trained(make, options, compiling), trained(make, options)
    assert all(map(torch.equal, ours[0].parameters(), theirs[0].parameters()))
