"""`auto`: the methods and places of a study, from the catalogue's advice for its network."""

import re
from dataclasses import replace

import torch
from torch import nn

from thinnet.models.edit.checks import matches
from thinnet.models.edit.rates import owners
from thinnet.models.recommend.evidence import EVIDENCE
from thinnet.models.recommend.recommend import Recommendation, recommend
from thinnet.study.data.dataset import Dataset
from thinnet.study.design.configuration import ALL, AUTO, BASELINE, DROPOUT, INPUT, METHODS
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.training.network import check_configuration, places_of, seeded_network


def advised(data: Dataset, plan: Plan) -> Plan:
    """Returns the plan with the catalogue's advice in place of `auto`; its `advice` says what was chosen and why.

    Args:
        data: the dataset.
        plan: what is asked.
    """
    if AUTO not in (*plan.methods, *plan.places):
        return plan
    with torch.random.fork_rng(devices=[]):
        network = _network(data, plan)
        rows = list(recommend(network, samples=len(data.train), listed=len(EVIDENCE)))
    sentences = [f"Advice: train without dropout, because {row.reason} ({row.source})." for row in rows if row.method == "none"]
    if AUTO in plan.places:
        places, sentence = _places(data, network, rows)
        plan = replace(plan, places=_in_place_of_auto(plan.places, places))
        sentences.append(sentence)
    if AUTO in plan.methods:
        named = tuple(name for name in plan.methods if name != AUTO)
        chosen, why = _methods(data, replace(plan, methods=(DROPOUT,)), rows)
        plan = replace(plan, methods=(*named, *chosen))
        sentences += why
    return replace(plan, advice=tuple(sentences))


def _network(data: Dataset, plan: Plan) -> nn.Module:
    """Returns the network as it is before the study sets its rates, so that its own dropout counts."""
    if data.file is None:
        return seeded_network(data, replace(plan, methods=(DROPOUT,), places=(ALL,)), BASELINE, seed=0)
    return data.file.network()


def _in_place_of_auto(names: tuple[str, ...], advice: list[str]) -> tuple[str, ...]:
    return tuple(place for name in names for place in (advice if name == AUTO else [name]))


def _methods(data: Dataset, plan: Plan, rows: list[Recommendation]) -> tuple[list[str], list[str]]:
    """Returns the advised methods that fit the places of the plan, plain dropout among them, and why."""
    chosen, sentences = [DROPOUT], []
    for row in rows:
        method = DROPOUT if row.method == "Dropout" else row.method
        if method not in METHODS:
            continue
        try:
            check_all(data, replace(plan, methods=(method,)))
        except StudyError as error:
            sentences.append(f"{method} is left out: {error.args[2]}.")
            continue
        chosen.append(method)
        sentences.append(f"{method}: {row.reason} ({row.source}).")
    if len(chosen) == 1:
        sentences.append("No source in the catalogue measured a network like this one: dropout is compared alone.")
    return chosen, sentences


def check_all(data: Dataset, plan: Plan) -> None:
    """Builds and runs every configuration at one rate.

    Raises:
        StudyError: one does not fit the network.
    """
    some = next((rate for rate in plan.rates if rate), 0.5)
    for line in plan.lines:
        check_configuration(data, plan, line.at(some))


def _places(data: Dataset, network: nn.Module, rows: list[Recommendation]) -> tuple[list[str], str]:
    """Returns `all`, and places that differ from it, with a sentence.

    The perceptron has its input too. In other networks, sites whose names differ in numbers alone are one place.
    """
    if data.file is None:
        source = next((f" ({row.place}: {row.source})" for row in rows if row.method == "Dropout"), "")
        return [ALL, INPUT, f"{INPUT}+{ALL}"], f"Places: all hidden layers, the input, and both{source}."
    names = [owner.name for owner in owners(network) if not owner.idle]
    everywhere = {name for name in names if any(matches(name, part) for part in places_of(data).split("+"))}
    kinds = dict.fromkeys(re.sub(r"\d+", "*", name) for name in names)
    groups = [kind for kind in kinds if {name for name in names if matches(name, kind)} != everywhere]
    return [ALL, *groups], f"Places: all, and each kind of site in the network: {', '.join(groups) or 'there is one kind'}."
