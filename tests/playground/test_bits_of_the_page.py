"""The page and the library agree: masks, variants, and 200 steps of training."""

import contextlib
import io
import json
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import thinnet

STEPS = 200


def printed(code: str) -> Any:
    """What lines of Python print, as numbers."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, {})
    return json.loads(out.getvalue())


def flat(numbers: Any) -> list[float]:
    return torch.tensor(numbers).flatten().float().tolist()


@pytest.mark.parametrize("method", ["dropout", "gaussian"])
def test_the_copied_lines_print_the_noise_on_the_screen(open_page: Callable, method: str) -> None:
    page = open_page(f"screen=step&seed=5&row=2&rates=0.3,0.6,0.4,0.4&method={method}")
    page.click("text=One step")
    page.wait_for_function("document.querySelector('.transport .at').textContent.startsWith('step 1 ')")
    for layer in range(2):
        page.locator(".units button").nth(32 * layer).click()
        assert flat(printed(page.inner_text("pre"))) == flat(json.loads(page.inner_text("[data-printed]")))


def test_the_copied_lines_of_each_variant_print_its_factors(open_page: Callable) -> None:
    page = open_page("screen=variants&rates=0.35,0.35,0.35,0.35&seed=2")
    page.click("text=New masks")
    cards = page.locator("[data-variant]")
    assert cards.count() == 7
    for card in cards.all():
        factors = torch.tensor(json.loads(card.get_attribute("data-factors")))
        found = torch.tensor(flat(printed(card.locator("pre").text_content())))
        if card.get_attribute("data-variant") == "dropConnect":  # a mask, and not the numbers
            factors = (factors != 0).float()
        torch.testing.assert_close(factors, found, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "state",
    [
        "rates=0.4,0.2,0.4,0.4",
        "data=digits&size=100&width=16&depth=3&rates=0,0.5,0.25,0.4&l2=0.01",
        "data=line&method=gaussian&rates=0.3,0.3,0.3,0.3&batch=50",
    ],
)
def test_pytorch_takes_the_same_steps(open_page: Callable, state: str) -> None:
    recorded = open_page(state).evaluate(f"thinnet.record({STEPS})")
    model = network(recorded["sizes"], recorded["config"])
    put(model, recorded["initial"])
    train(model, recorded)
    difference = (parameters(model) - torch.tensor(recorded["final"], dtype=torch.float64)).abs().max()
    assert len(recorded["batches"]) == STEPS and difference < 1e-8


def network(sizes: list[int], config: dict[str, Any]) -> nn.Sequential:
    """The network of the page: linear, ReLU and noise for each hidden layer, and a linear layer."""
    noise = thinnet.nn.Dropout if config["method"] == "dropout" else thinnet.nn.GaussianDropout
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (inputs, outputs) in enumerate(pairwise(sizes), start=1):
        layers[f"linear{i}"] = nn.Linear(inputs, outputs, dtype=torch.float64)
        if i + 1 < len(sizes):
            layers |= {f"relu{i}": nn.ReLU(), f"hidden{i}": noise(config["rates"][i - 1])}
    return nn.Sequential(layers)


def put(model: nn.Module, values: list[float]) -> None:
    nn.utils.vector_to_parameters(torch.tensor(values, dtype=torch.float64), model.parameters())


def parameters(model: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def train(model: nn.Module, recorded: dict[str, Any]) -> None:
    config = recorded["config"]
    x = torch.tensor(recorded["x"], dtype=torch.float64).reshape(-1, recorded["sizes"][0])
    y = torch.tensor(recorded["y"], dtype=torch.float64)
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    biases = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    groups = [{"params": weights, "weight_decay": config["l2"]}, {"params": biases}]
    optimiser = torch.optim.Adam(groups, lr=config["learningRate"])
    rng = thinnet.DropoutRNG(config["seed"]).bind(model)
    for step, ids in enumerate(recorded["batches"]):
        rng.at(step, samples=ids)
        optimiser.zero_grad()
        loss(config["data"], model(x[ids]), y[ids]).backward()
        optimiser.step()


def loss(data: str, output: Tensor, y: Tensor) -> Tensor:
    if data == "digits":
        return nn.functional.cross_entropy(output, y.long())
    if data == "line":
        return nn.functional.mse_loss(output[:, 0], y)
    return nn.functional.binary_cross_entropy_with_logits(output[:, 0], y)
