"""The checks of an audit that run the model again."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from thinnet.models.audit.backward import masks_of_backward
from thinnet.models.audit.case import Case, at
from thinnet.models.audit.ranks import same_seed
from thinnet.models.passes import switch
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values
from thinnet.models.trace.record import ADDRESSED, SiteId
from thinnet.report.findings import Finding, Rule

SHIFT = Rule("AUD306", "dropout shifts the variance before a normalisation", "warning")
SHIFTED = 1.1  # the ratio of variances that is reported
REPEATS = 3  # passes in training: all of them have to shift the variance to one side


def variance_shift(case: Case) -> Iterator[Finding]:
    """Batch normalisations whose input has another variance in training than in eval, because of dropout before them.

    Stochastic depth is left out: it stands on the branches of a network with batch normalisation by design.
    """
    norms: dict[str, nn.Module] = {
        name: m for name, m in case.model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    }
    if not norms or not any(site.on_in_train for site in case.sites):
        return
    evaluated, *trained = (_variances(case, norms, seed) for seed in (None, *range(case.seed, case.seed + REPEATS)))
    for name in evaluated:
        varied = evaluated[name] > 0
        ratios = [
            float((train[name] / evaluated[name])[varied].median()) for train in trained if name in train and varied.any()
        ]
        shifted = all(ratio > SHIFTED for ratio in ratios) or all(ratio < 1 / SHIFTED for ratio in ratios)
        if ratios and shifted:
            ratio = sorted(ratios)[len(ratios) // 2]
            evidence = f"The variance of its input in training is {ratio:.2f} times that in eval (median over channels)."
            remedy = "Put dropout after the last batch normalisation, or use UniformDropout at a small rate."
            yield Finding(SHIFT, name, None, evidence, remedy)


def _variances(case: Case, norms: dict[str, nn.Module], seed: int | None) -> dict[str, Tensor]:
    """Returns the variance of each channel at the input of each norm, in eval without a seed.

    The norms use batch statistics in both modes, and masks of whole samples are off.
    """
    whole = {site.name for site in case.sites if site.shared_axes and site.shared_axes == tuple(range(1, site.axes))}
    found: dict[str, Tensor] = {}

    def meet(name: str, side: str, number: int, x: Tensor) -> None:
        found[name] = x.detach().double().transpose(0, 1).flatten(1).var(1)

    with preserve_state(case.model, case.seed if seed is None else seed), torch.no_grad():
        switch(case.model, seed is not None, whole)
        for module in norms.values():
            module.train()
        trace(case.model, lambda: case.call(case.model), values=Values({(name, "in") for name in norms}, meet))
    return found


REPEATED = Rule("AUD107", "the same mask in every pass", "error")
SEEDS = Rule("AUD108", "the forward pass seeds a global generator", "note")
TELLING = 64  # as many numbers are not the same twice by chance


def repeated_masks(case: Case) -> Iterator[Finding]:
    """Masks that a seed in the forward pass repeats, and other seeds there."""
    dropping = [site for site in case.sites if site.on_in_train and case.drops(site) and site.op not in ADDRESSED]
    drawn: list[dict[SiteId, list[int]]] = []
    with preserve_state(case.model, case.seed), torch.no_grad():
        for _ in range(2 if dropping else 0):  # the generators, and counters of steps, go on
            case.model.train()
            record = trace(case.model, lambda: case.call(case.model), level="draws", loss=lambda out: None)  # takes checksums
            drawn.append({})
            for draw in record.draws:
                if math.prod(draw.shape) >= TELLING:
                    drawn[-1].setdefault(draw.site, []).append(draw.digest)
    for site in dropping:
        if drawn[0].get(site.address, 0) == drawn[1].get(site.address, 1):
            evidence = f"{site.op} drew the same numbers in two passes: each step trains the same sub-network."
            yield at(site, REPEATED, evidence, "Seed once, before the training, and not in the forward pass.")
    for site in case.sites:
        if site.kind == "reseeding":
            evidence = f"{site.op} sets the seed of everything that draws after it."
            yield at(site, SEEDS, evidence, "Draw from a generator of its own, such as torch.Generator.")


MEASURES = (variance_shift, masks_of_backward, repeated_masks, same_seed)
