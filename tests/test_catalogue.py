"""What `thinnet methods` shows: the facts of every method, and a picture that is the same each time."""

import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.methods import cards, catalogue
from thinnet.methods.registry import REGISTRY

PICTURED = [method for method in REGISTRY if method.picture is not None]


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["methods", *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_names_every_method() -> None:
    listed = printed()
    assert [method.name for method in REGISTRY if method.name not in listed] == []


@pytest.mark.parametrize("method", REGISTRY, ids=lambda method: method.name)
def test_a_card_shows_every_section(method) -> None:
    console = Console(width=600)
    with console.capture() as captured:
        console.print(catalogue.card(method))
    card = cards.read(catalogue.first(method))
    assert card.summary and card.equation and len(card.sections) >= 5
    lines = [
        line.strip()
        for text in (card.title, card.summary, card.equation, *card.sections.values())
        for line in text.splitlines()
    ]
    assert [line for line in lines if line not in captured.get()] == []


@pytest.mark.parametrize("method", PICTURED, ids=lambda method: method.name)
def test_a_picture_is_the_same_each_time_and_is_not_the_input(method) -> None:
    before = torch.get_rng_state()
    picture = catalogue.masked(method)
    assert torch.equal(torch.get_rng_state(), before)
    assert picture is not None and picture.shape == catalogue.SIZE and torch.equal(picture, catalogue.masked(method))
    assert not torch.equal(picture, catalogue.scene())


def test_json_is_for_programs() -> None:
    assert [entry["module"] or entry["function"] for entry in json.loads(printed("--json"))] == [m.name for m in REGISTRY]
    entry = json.loads(printed("dropout", "--json"))
    assert entry["module"] == "Dropout" and entry["equation"] == "y = x m / (1 - p),  m ~ Bernoulli(1 - p)"


def test_a_name_that_is_none_is_an_error_with_a_hint() -> None:
    result = CliRunner().invoke(app, ["methods", "dropot"])
    assert result.exit_code == 2 and "got 'dropot'" in result.stderr and "Dropout" in result.stderr
