"""On a GPU: every method, thinned networks and sampling give what they give on a CPU, with the same masks."""

import copy
from collections.abc import Callable

import pytest
import torch
from inference import test_sampling
from rows import ROWS
from rows.row import Row
from test_invariants import run
from thin import test_units
from torch import Tensor, nn

import thinnet
from benchmarks.device import DEVICE, REHEARSE

STEP, SEED = 7, 11


def addressed(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The output and all gradients of a bound model at a step."""
    thinnet.DropoutRNG(SEED).bind(model).at(STEP, samples=torch.arange(len(x)) * 3)
    torch.manual_seed(5)
    return tuple(part.cpu() for part in run(model, x, None, list(model.parameters())))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_method_is_the_same_on_both(row: Row) -> None:
    for shape in row.shapes[:1] if REHEARSE else row.shapes:
        model, x = nn.Sequential(row.module(0.25)), row.inputs((4, *shape[1:]))
        there = copy.deepcopy(model).to(DEVICE)
        expected = addressed(model, x)
        torch.testing.assert_close(addressed(there, x.to(DEVICE)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("case", test_units.CASES.values(), ids=test_units.CASES.keys())
def test_a_thinned_network_is_the_same_on_both(case: test_units.Case) -> None:
    make, shape, _ = case
    torch.manual_seed(0)
    model, x = make().double(), torch.randn(shape, dtype=torch.float64)
    there = copy.deepcopy(model).to(DEVICE)
    found = []
    for network, inputs in ((model, x), (there, x.to(DEVICE))):
        thinnet.thin(network, inputs, always=True)
        found.append(addressed(network, inputs))
    torch.testing.assert_close(found[1], found[0])


SAMPLED = [test_sampling.mlp, test_sampling.convolutions, *([] if REHEARSE else [test_sampling.encoder])]  # a minute there


@pytest.mark.parametrize("make", SAMPLED)
def test_samples_are_the_same_on_both(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model = make()
    x = torch.randn({"mlp": (4, 8), "convolutions": (4, 2, 8, 8), "encoder": (4, 5, 8)}[make.__name__])
    n = 2 if REHEARSE else 6
    there = thinnet.inference.sample(copy.deepcopy(model).to(DEVICE), x.to(DEVICE), n=n, seed=3).draws
    torch.testing.assert_close(there.cpu(), thinnet.inference.sample(model, x, n=n, seed=3).draws, atol=1e-4, rtol=1e-4)


RECURRENT = (
    *("VariationalLSTM", "VariationalGRU", "ZoneoutLSTM", "ZoneoutGRU"),
    *("RecurrentDropoutLSTM", "RecurrentDropoutGRU", "RNNDropLSTM"),
)


def test_recurrent_layers_are_the_same_on_both() -> None:
    for name in RECURRENT:
        model = getattr(thinnet.nn, name)(8, 12, batch_first=True)
        there = copy.deepcopy(model).to(DEVICE)
        found = []
        for layer in (model, there):
            thinnet.DropoutRNG(SEED).bind(layer).at(STEP, samples=torch.arange(4))
            x = torch.linspace(-1, 1, 4 * 5 * 8).reshape(4, 5, 8).to(next(layer.parameters()).device).requires_grad_()
            y = layer(x)[0]
            found.append((y.detach().cpu(), torch.autograd.grad(y.square().sum(), x)[0].cpu()))
        torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=1e-4)
