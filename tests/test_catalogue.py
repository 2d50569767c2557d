"""What `thinnet methods` shows: the facts of every method, and a picture that is the same each time."""

import importlib
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from thinnet.cli import app
from thinnet.methods import cards, catalogue, other_names
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


def test_uses_are_stated_for_one_method_each_and_are_shown() -> None:
    uses = {id(method.facts): (method, method.facts.used_by) for method in REGISTRY if method.facts.used_by}
    stated = [used for _, used in uses.values()]
    assert uses and len(set(stated)) == len(stated)  # none is inherited from a method with similar facts
    for method, used in uses.values():
        shown = " ".join(printed(method.name).split())
        assert all(use.project.split()[0] in shown for use in used)
        assert json.loads(printed(method.name, "--json"))["used_by"] == [use._asdict() for use in used]


def test_json_is_for_programs() -> None:
    assert [entry["module"] or entry["function"] for entry in json.loads(printed("--json"))] == [m.name for m in REGISTRY]
    entry = json.loads(printed("dropout", "--json"))
    assert entry["module"] == "Dropout" and entry["equation"] == "y = x m / (1 - p),  m ~ Bernoulli(1 - p)"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mcdropout", "thinnet.inference.sample("),
        ("MC-Dropout", "thinnet.inference.sample("),
        ("monte carlo", "thinnet.inference.sample("),
        ("curriculum dropout", "thinnet.schedules"),
        ("inverted dropout", "thinnet.nn.Dropout\n"),
        ("vanilla", "thinnet.nn.Dropout\n"),
        ("spatial dropout", "thinnet.nn.Dropout2d\n"),
        ("stochastic depth", "thinnet.nn.StochasticDepth"),
        ("drop-path", "thinnet.nn.DropPath"),
        ("droppath", "thinnet.nn.DropPath"),
        ("word dropout", "thinnet.nn.WordDropout"),
        ("gal dropout", "thinnet.nn.VariationalLSTM"),
        ("variational", "thinnet.nn.VariationalDropout"),
        ("dropconnect", "thinnet.nn.DropConnect"),
        ("zone out", "thinnet.nn.Zoneout"),
        ("R-Drop", "thinnet.losses.r_drop_loss"),
        ("alpha", "thinnet.nn.AlphaDropout"),
    ],
)
def test_the_usual_names_of_methods_are_known(name: str, shown: str) -> None:
    assert shown in "\n".join(line.strip() for line in printed(name).splitlines()).replace("use  ", "use\n")


def test_a_name_leads_to_one_thing_and_the_names_of_the_code_to_themselves() -> None:
    for method in REGISTRY:
        things = [thing.__name__ for thing in (method.module, method.function) if thing is not None]
        assert [catalogue.find(name) for name in things] == [method] * len(things)
    others = [other_names.plain(name) for names in other_names.METHODS.values() for name in other_names.split(names)]
    topics = [other_names.plain(name) for names in other_names.TOPICS.values() for name in other_names.split(names)]
    assert len(set(others + topics)) == len(others + topics)
    assert other_names.METHODS.keys() <= {method.name for method in REGISTRY}


def test_what_a_topic_leads_to_exists() -> None:
    for topic in other_names.TOPICS:
        package, _, name = topic.use.rpartition(".")
        assert hasattr(importlib.import_module(package), name)
        page, _, anchor = topic.page.partition("#")
        text = (Path(__file__).parent.parent / page).read_text().lower()
        assert f"# {anchor.replace('-', ' ')}" in text
    assert json.loads(printed("mc dropout", "--json"))["use"] == "thinnet.inference.sample"


@pytest.mark.parametrize("name", ["dropot", "droppout2d", "mc dropuot", "zonout", "stochastic dept"])
def test_a_misspelt_name_gets_a_suggestion(name: str) -> None:
    result = CliRunner().invoke(app, ["methods", name])
    assert result.exit_code == 2 and "Did you mean" in result.stderr


def test_a_name_that_is_none_is_an_error_with_a_hint() -> None:
    result = CliRunner().invoke(app, ["methods", "dropot"])
    assert result.exit_code == 2 and "got 'dropot'" in result.stderr and "Dropout" in result.stderr
