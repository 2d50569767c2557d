"""The network of a study: that of the user, or a multilayer perceptron; and the edit of a configuration."""

from difflib import get_close_matches

import torch
from torch import nn

from thinnet import nn as methods
from thinnet.models.edit.checks import matches
from thinnet.models.edit.rates import owners
from thinnet.models.edit.set_rates import set_rates
from thinnet.models.thin.thin import thin
from thinnet.rng import Site
from thinnet.rng.names import plain
from thinnet.schedules import Annealed, Cosine, Curriculum, Early, Expm4t, FlatCos, Late, Linear, Schedule
from thinnet.study.data.dataset import Dataset, Split
from thinnet.study.design.configuration import ALL, CONSTANT, DROPOUT, INPUT, NONE, THIN, WIDTH, Configuration
from thinnet.study.design.plan import Plan, StudyError
from thinnet.study.training.perceptron import perceptron
from thinnet.study.training.rivals import check_rivals, rival_network


def seeded_network(data: Dataset, plan: Plan, configuration: Configuration, seed: int, train: Split | None = None) -> nn.Module:
    """Builds the network of a configuration with the initial weights of a seed; torch's default generator is unchanged.

    Args:
        data: the dataset.
        plan: the settings.
        configuration: the edit, or a rival.
        seed: of the initial weights.
        train: the training set, to which a rival fits its scales; that of seed 0 where weights are loaded later.

    Raises:
        StudyError: the configuration does not fit the network.
    """
    width = configuration.rate if configuration.method == WIDTH else 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if configuration.is_network:
            return rival_network(data.task, plan, configuration.method, seed, train or data.train)
        if data.file is not None:
            network = data.file.network(width)
        else:
            hidden = [max(round(width * each), 1) for each in plan.hidden]
            inputs = any(INPUT in place.split("+") for place in plan.places)
            network = perceptron(data.development.x.shape[1], hidden, data.task.outputs, 0.0, inputs)
    _edit(network, configuration, places_of(data))
    return network


def places_of(data: Dataset) -> str:
    """Returns the patterns of the sites that `all` means, joined by `+`."""
    return "hidden*" if data.file is None else data.file.places


def _edit(network: nn.Module, configuration: Configuration, everywhere: str) -> None:
    """Sets the rates of a configuration, and puts its method at the sites."""
    method, rate, place, _ = configuration
    set_rates(network, 0.0)
    if not configuration.dropout_rate:
        return
    option = "--places"
    try:
        parts = place.split("+")
        patterns = [each for part in parts for each in (everywhere.split("+") if part == ALL else [part])]
        set_rates(network, dict.fromkeys(patterns, rate))
        option = "--methods"
        if method not in (DROPOUT, THIN, NONE):
            _put(network, getattr(methods, method), rate)
    except ValueError as error:
        names = [owner.name for owner in owners(network) if not owner.idle]
        got, advice = str(error).partition(";")[0].rstrip("."), f"Its sites are {', '.join(names)}."
        for part in place.split("+") if option == "--places" else ():
            if part != ALL and not any(matches(name, part) for name in names):
                got, near = f"{part!r}, which matches no dropout site", get_close_matches(part, names, 1)
                advice = f"Did you mean {near[0]}? {advice}" if near else advice
        raise StudyError(option, "every configuration must fit the network", got, advice) from None


def _put(network: nn.Module, kind: type[Site], rate: float) -> None:
    """Replaces every site that has a rate."""
    for owner in owners(network):
        if owner.p > 0 and not owner.idle:
            if not isinstance(owner.module, Site):
                rule = f"{kind.__name__} needs a module at every place; {owner.name} is a number"
                raise ValueError(f"{rule} that {type(owner.module).__name__} holds")
            network.set_submodule(owner.path, kind(rate))


def thinned(network: nn.Module, data: Dataset, plan: Plan, configuration: Configuration) -> nn.Module:
    """Applies `thinnet.thin` where the method is thin and the rate is above 0; the weights and the outputs in eval mode stay.

    Raises:
        StudyError: a hidden layer cannot be thinned.
    """
    if configuration.method == THIN and configuration.rate > 0:
        thinning = thin(network, torch.from_numpy(data.train.x[: plan.batch]), groups=plan.groups, always=True)
        wanted = sum(isinstance(owner.module, Site) and owner.p > 0 for owner in owners(network))
        if len(thinning.thinned) < (wanted if data.file is None else 1):
            got = f"{configuration.rate:g} and {','.join(map(str, plan.hidden))}: site {thinning.notes[0]}"
            raise StudyError("--rates", f"{THIN} must skip units of every layer", got, "Use higher --rates or wider --hidden.")
    return network


def schedules_of(network: nn.Module, configuration: Configuration, steps: int) -> dict[str, Schedule]:
    """Returns the schedule of every site that has a rate, by its name; none where the rate is constant.

    Args:
        network: the network of the configuration.
        configuration: names the schedule and its rate.
        steps: the length of the run.
    """
    p = configuration.rate
    if configuration.schedule == CONSTANT or not configuration.dropout_rate:
        return {}
    schedule: Schedule = {
        "linear": lambda: Linear(0.0, p, steps),
        "cosine": lambda: Cosine(0.0, p, steps),
        "curriculum": lambda: Curriculum(p, 10 / steps),
        "annealed": lambda: Annealed(p, steps),
        "early": lambda: Early(p, max(steps // 6, 1)),
        "late": lambda: Late(p, max(steps // 2, 1)),
        "flat_cos": lambda: FlatCos(p, steps),
        "expm4t": lambda: Expm4t(p, steps),
    }[configuration.schedule]()
    return {plain(name): schedule for name, site in network.named_modules() if isinstance(site, Site) and site.p == p}


def check_configurations(data: Dataset, plan: Plan) -> None:
    """Builds the network of every configuration once, and runs it on a few samples.

    Raises:
        StudyError: a configuration cannot be trained.
    """
    if WIDTH in plan.against and data.file is not None and not data.file.takes_width:
        advice = "Define model(width=1.0), which multiplies its hidden widths, or leave the rival out."
        raise StudyError("--against", "model() must take a width", "a model() that takes none", advice)
    check_rivals(data, plan)
    for each in plan.configurations:
        check_configuration(data, plan, each)


def check_configuration(data: Dataset, plan: Plan, configuration: Configuration) -> None:
    """Builds the network of a configuration, and runs it on a few samples.

    Raises:
        StudyError: it cannot be trained.
    """
    network = thinned(seeded_network(data, plan, configuration, seed=0), data, plan, configuration)
    if configuration.method not in (NONE, DROPOUT, THIN) and configuration.dropout_rate:
        try:
            network.train()(torch.from_numpy(data.train.x[:2]))
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            advice = "Choose --places where its input has the shape that it needs."
            raise StudyError("--methods", f"{configuration.method} must fit its sites", reason, advice) from None
