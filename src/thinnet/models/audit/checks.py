"""The checks of an audit that need only the sites of a model."""

from collections.abc import Iterator

from torch import nn

from thinnet.methods.registry import REGISTRY
from thinnet.models import declared
from thinnet.models.audit.case import Case, at, pinned
from thinnet.models.declared_only import ROUNDED
from thinnet.models.edit.calls import CALLS
from thinnet.models.found import DROPS, FoundSite
from thinnet.report.findings import Finding, Rule
from thinnet.report.formatting import counted

ALPHA = ("AlphaDropout", "FeatureAlphaDropout")
MULTIPLIED = ("bernoulli", "rand", "rand_like", "uniform", "native_dropout")
MASKS = ("dropout", "multiplicative noise")
OFF_BY = 0.02  # the tolerance of a rate or a scale, on top of the noise of its measurement


SILENT = Rule("AUD103", "off in training", "error")
LEFT_IN_EVAL = Rule("AUD104", "in eval mode while the model trains", "error")
UNDRAWN = ("silent", "not reached", "not applied")
DEAD = Rule("AUD105", "no pass reached it", "note")
ZERO = Rule("AUD106", "its rate is 0", "note")
ONE_LAYER = Rule("AUD502", "recurrent dropout with one layer", "error")


def silent(case: Case) -> Iterator[Finding]:
    """Modules that declare a rate and draw nothing."""
    zero: list[FoundSite] = []
    for site in case.sites:
        module = case.module(site.name)
        if site.kind not in UNDRAWN or site.p is None or pinned(module):
            continue
        if isinstance(module, nn.RNNBase) and module.num_layers == 1 and site.p > 0:
            evidence = f"{type(module).__name__}(dropout={site.p:g}) has one layer, and its dropout stands between layers."
            yield at(site, ONE_LAYER, evidence, "Put a dropout layer after it, or LockedDropout before it.")
        elif site.p == 0:
            if declared.is_dropout(module):  # 0 is the default of recurrent layers and of attention
                zero.append(site)
        elif site.kind == "not applied" or (site.kind == "not reached" and _never_applied(case, site)):
            evidence = f"{site.note[:1].upper()}{site.note[1:]}."
            yield at(site, SILENT, evidence, "Give the rate to the attention: dropout_p=p if self.training else 0.0.")
        elif site.kind == "silent":
            yield at(
                site,
                SILENT,
                f"It declares p = {site.p:g}, ran, and drew nothing.",
                "Look for training=False in its forward method.",
            )
        elif not _read_by_parent(case, site):
            evidence = f"It declares p = {site.p:g}, and its forward method did not run in training."
            yield at(site, DEAD, evidence, "A fused path may replace it; otherwise remove it.")
    if len(zero) == 1:
        yield at(zero[0], ZERO, "It drops nothing.", "Set a rate, or remove it.")
    elif zero:
        evidence = f"{counted(len(zero), 'module')}, the first at {zero[0].name!r}: they drop nothing."
        yield Finding(ZERO, "", None, evidence, "Set rates, or remove them.")


def _read_by_parent(case: Case, site: FoundSite) -> bool:
    """Returns whether the module around a dropout module draws at its rate, as fused attention does."""
    drawn = _drawn_itself(case, site.name.rpartition(".")[0])
    return any(p is not None and abs(p - (site.p or 0)) < ROUNDED for p in drawn)


def _drawn_itself(case: Case, name: str) -> list[float | None]:
    """Returns the rates of the dropout that a module draws itself, or that sites serve for its calls."""
    calls = f"{name}.{CALLS}.".lstrip(".")
    return [site.p for site in case.sites if site.kind not in UNDRAWN and (site.name == name or site.name.startswith(calls))]


def _never_applied(case: Case, site: FoundSite) -> bool:
    """Returns whether a module of attention ran without its dropout module, and drew nothing itself."""
    parent, _, name = site.name.rpartition(".")
    attends = "att" in name.lower() or "attention" in type(case.module(parent)).__name__.lower()
    return attends and parent in case.visited and not _drawn_itself(case, parent)


def left_in_eval(case: Case) -> Iterator[Finding]:
    """Modules that are in eval although the model is in training."""
    for name, training in case.modes.items():
        rate = declared.rate(case.module(name))
        if case.modes.get("") and not training and rate and not pinned(case.module(name)) and not _frozen(case, name):
            remedy = "Call model.train() after every evaluation."
            yield Finding(LEFT_IN_EVAL, name, None, f"model.training is True, here it is False; p = {rate:g}.", remedy)


def _frozen(case: Case, name: str) -> bool:
    """Returns whether a module is in eval as part of one whose parameters are all frozen, as a backbone that is not trained."""
    while not case.modes.get(parent := name.rpartition(".")[0], True):
        name = parent
    module = case.module(name)
    parameters = [] if module is None else list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


RATE = Rule("AUD201", "the measured rate is not the nominal rate", "error")
SCALE = Rule("AUD202", "the scale does not match the rate", "warning")


def rates(case: Case) -> Iterator[Finding]:
    """Rates that differ from the nominal rate, and scales that do not match the rate."""
    for site in case.sites:
        if site.measured is None or site.interval is None or site.kind not in DROPS or site.self_scaled:
            continue
        p, (low, high) = site.p, site.interval
        if p is not None and not low - OFF_BY <= p <= high + OFF_BY:
            evidence = f"p = {p:g} is nominal; {site.measured:.3f} was dropped (99 % interval {low:.3f} to {high:.3f})."
            yield at(site, RATE, evidence, "Use a method that corrects its rate, such as thinnet.nn.DropBlock2d.")
        alpha = type(case.module(site.name)).__name__ in ALPHA
        if site.scale is None or site.mean is None or alpha:
            continue
        unsure = 0.0 if p is not None else site.scale * (high - low) / 2
        if abs(site.mean - 1) > 2 * OFF_BY + unsure:
            evidence = f"The scale is {site.scale:.3f}: the mean output is {site.mean:.2f} of the input."
            yield at(site, SCALE, evidence, "Scale by 1 / (1 - p), unless the model scales at inference.")


OUTPUT = Rule("AUD301", "dropout on the output", "error")
HEAD = Rule("AUD302", "dropout directly before a layer with one output", "note")
TWICE = Rule("AUD303", "dropout twice in a row", "warning")
EVERYWHERE = Rule("AUD304", "dropout after every layer", "note")
INPUT = Rule("AUD305", "dropout on the input", "note")
SHARING = tuple(method.module for method in REGISTRY if method.module is not None and method.facts.per_batch)
SAME_MASK = Rule("AUD401", "one mask for all samples", "warning")
NO_SELU = Rule("AUD501", "alpha dropout without SELU", "error")
LEAK = Rule("AUD503", "infinite values leak as NaN", "note")


def placement(case: Case) -> Iterator[Finding]:
    """Sites at places where dropout does harm."""
    dropouts = [site for site in case.sites if site.on_in_train and site.kind in MASKS and case.drops(site)]
    for site in dropouts:
        yield from _placed(case, site)
    layers = sum(_has_weights(module) for module in case.model.modules())
    drawn = round(sum(site.draws for site in dropouts if site.target != "weights" and site.shared_axes == ()))
    if layers >= 2 and drawn >= layers:
        evidence = f"{counted(drawn, 'mask')} in a pass for {layers} layers."
        yield Finding(EVERYWHERE, "", None, evidence, "Start with the widest hidden layers; measure with thinnet study.")


def _has_weights(module: nn.Module) -> bool:
    """Returns whether a module is a layer with weights: no embedding, and no normalisation, whose weight has one axis.

    It reads no attribute: that of a parametrised weight computes it, and a spectral norm changes its buffers then.
    """
    named = [name for name, parameter in module.named_parameters(recurse=False) if parameter.ndim > 1]
    return any(name.startswith(("weight", "original")) for name in named) and not isinstance(module, nn.Embedding)


def _placed(case: Case, site: FoundSite) -> Iterator[Finding]:
    if site.at_output:
        yield at(site, OUTPUT, "The model returns its output.", "Move it before the last layer.")
    if site.feeds == 1:
        evidence = "The last layer has one output and reads it: a regression would learn from a noisy scale."
        yield at(site, HEAD, evidence, "In a regression, move it one layer back, or lower the rate.")
    if site.follows:
        yield at(site, TWICE, "Its input is the output of another site.", "Remove one of them.")
    if site.target == "input":
        yield at(site, INPUT, f"It drops the input of the model, p = {site.p}.", "Use at most 0.2 on clean input.")
    if site.shared_axes and 0 in site.shared_axes:
        meant = isinstance(case.module(site.name), SHARING) or getattr(case.module(site.name), "shared", False)
        if site.target == "activations" and site.kind == "dropout" and not meant and case.rows_apart:
            evidence = f"One mask value along {site.sharing}: every sample of a batch has the same mask."
            yield at(site, SAME_MASK, evidence, "Draw a mask for each sample, unless the method shares it.")
    if type(case.module(site.name)).__name__ in ALPHA and site.target != "input" and site.after not in ("elu", "selu"):
        evidence = f"Its input comes from {site.after or 'no operation'}, and not from SELU."
        yield at(site, NO_SELU, evidence, "Use Dropout, or put SELU before it.")


def leaks(case: Case) -> Iterator[Finding]:
    """Masks that multiply, so that a dropped infinite value becomes NaN."""
    found = [site for site in case.sites if site.kind == "dropout" and site.scale is not None and site.op in MULTIPLIED]
    if found:
        sites, first = counted(len(found), "site"), found[0].name or "the model"
        evidence = f"{sites}, the first at {first!r}: a dropped infinite value becomes NaN."
        yield Finding(LEAK, "", None, evidence, "Use thinnet.nn, which writes zeros instead of multiplying by zero.")


PENALTY = Rule("AUD504", "its penalty is not in the loss", "error")
REACH = Rule("AUD505", "dropout that a test for nn.Dropout misses", "note")


def learned(case: Case) -> Iterator[Finding]:
    """Learned noise whose penalty is not read."""
    for name in case.forgotten:
        evidence = "It ran in training, and thinnet.penalty was not called after that."
        yield Finding(PENALTY, name, None, evidence, "Add thinnet.penalty(model, samples=N) to the loss.")


def reach(case: Case) -> Iterator[Finding]:
    """Sites that are no modules of PyTorch's dropout classes: Monte-Carlo dropout by class misses them."""
    random = [site for site in case.sites if site.on_in_train and site.kind in DROPS]
    known = (nn.modules.dropout._DropoutNd,)
    missed = [site.name or "the model" for site in random if not isinstance(case.module(site.name), known)]
    if missed:
        evidence = (
            f"isinstance(module, nn.Dropout) finds {len(random) - len(missed)} of {len(random)} sites; it misses {missed[0]!r}."
        )
        yield Finding(
            REACH, "", None, evidence, "For Monte-Carlo dropout use thinnet.inference.mc_mode(model), which turns on all sites."
        )


CHECKS = (silent, left_in_eval, rates, placement, leaks, learned, reach)
