"""The checks of an audit that run the model again: variance shifts, and gradients that do not belong to the output."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.audit.checks import Case
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.modules import Values
from thinnet.report.findings import Finding, Location, Rule

SHIFT = Rule("AUD306", "dropout shifts the variance before a normalisation", "warning")
SHIFTED = 1.1  # the ratio of variances that is reported


def variance_shift(case: Case) -> Iterator[Finding]:
    """Batch normalisations whose input has another variance in training than in eval, because of dropout before them."""
    norms: dict[str, nn.Module] = {
        name: m for name, m in case.model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    }
    if not norms or not any(site.on_in_train for site in case.sites):
        return
    train, evaluated = (_variances(case, norms, dropping) for dropping in (True, False))
    for name in norms:
        if name not in train or name not in evaluated:
            continue
        ratio = float((train[name] / evaluated[name].clamp_min(1e-12)).median())
        if not 1 / SHIFTED <= ratio <= SHIFTED:
            evidence = f"The variance of its input in training is {ratio:.2f} times that in eval (median over channels)."
            remedy = "Put dropout after the last batch normalisation, or use UniformDropout at a small rate."
            yield Finding(SHIFT, name, None, evidence, remedy)


def _variances(case: Case, norms: dict[str, nn.Module], dropping: bool) -> dict[str, Tensor]:
    """Returns the variance of each channel at the input of each norm; the norms use batch statistics in both modes."""
    found: dict[str, Tensor] = {}

    def meet(name: str, side: str, number: int, x: Tensor) -> None:
        found[name] = x.detach().double().transpose(0, 1).flatten(1).var(1)

    with preserve_state(case.model, case.seed), torch.no_grad():
        case.model.train(dropping)
        for module in norms.values():
            module.train()
        trace(case.model, lambda: case.call(case.model), values=Values({(name, "in") for name in norms}, meet))
    return found


BACKWARD = Rule("AUD203", "forward and backward have different masks", "error")
PERSISTS = 0.05  # the relative error of a derivative at the best step size
STEPS = (1e-1, 1e-2, 1e-3)


def masks_of_backward(case: Case) -> Iterator[Finding]:
    """Masks that differ when activations are recomputed for backward, and gradients that do not belong to the output."""
    recomputed = list(_recomputed(case))
    yield from recomputed
    surrogate = any(getattr(module, "surrogate_gradient", False) for module in case.model.modules())
    error = None if recomputed or surrogate else derivative_error(case)
    if error is not None and error > PERSISTS:
        evidence = f"Along the gradient, the output at one seed changes by {error:.0%} more or less than the gradient says."
        remedy = "Addressed masks (thinnet.DropoutRNG) are the same in every recomputation; see activation_memory_budget."
        yield Finding(BACKWARD, "", None, evidence, remedy)


def _recomputed(case: Case) -> Iterator[Finding]:
    with preserve_state(case.model, case.seed):
        case.model.train()
        with torch.enable_grad():
            record = trace(case.model, lambda: case.call(case.model), level="draws", loss=_loss)
    digests: dict[Any, set[int]] = {}
    for draw in record.draws:
        digests.setdefault((draw.name, draw.shape), set()).add(draw.digest)
    for draw in record.backward_draws:
        first = digests.get((draw.name, draw.shape))
        if first is not None and draw.digest not in first:
            evidence = f"{draw.op} drew again for the backward pass, and drew other numbers."
            remedy = "Use checkpoint(..., preserve_rng_state=True), or addressed masks."
            yield Finding(BACKWARD, draw.name, Location.parse(draw.line), evidence, remedy)
            return


def _loss(out: Any) -> Tensor | None:
    """Returns a sum of all outputs, each number with a fixed weight of its own."""
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.requires_grad]
    if not leaves:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        weights = [torch.randn(leaf.shape, dtype=torch.float64).to(leaf.device) for leaf in leaves]
    parts = [(leaf.double() * weight).sum() for leaf, weight in zip(leaves, weights, strict=True)]
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def derivative_error(case: Case) -> float | None:
    """Returns the relative error of the gradient, against the change of the output along it at one seed.

    None where there is nothing to differentiate. The best of several step sizes counts: kinks and rounding spoil some of them,
    other masks in the backward pass spoil all.
    """
    parameters = [p for p in case.given.parameters() if p.requires_grad and p.is_floating_point()]

    def value(shift: float, along: list[Tensor]) -> float:
        with preserve_state(case.given, case.seed), torch.enable_grad():
            case.given.train()
            with torch.no_grad():
                for parameter, direction in zip(parameters, along, strict=False):
                    parameter.add_(direction, alpha=shift)
            loss = _loss(case.call(case.given))
            return 0.0 if loss is None else float(loss.detach())

    along = _gradients(case, parameters)
    if along is None:
        return None
    length = float(torch.stack([g.double().norm() for g in along]).norm())
    if length == 0:
        return None
    along = [g / length for g in along]
    size = float(torch.stack([p.detach().double().norm() for p in parameters]).norm())
    errors = []
    for step in (part * size * 0.1 for part in STEPS):
        slope = (value(step, along) - value(-step, along)) / (2 * step)
        errors.append(abs(slope - length) / length)
    return min(errors)


def _gradients(case: Case, parameters: list[nn.Parameter], backward: bool = False) -> list[Tensor] | None:
    """Returns the gradients of the loss; with `backward=True` by `backward()`, the only way for reentrant checkpoints."""
    with preserve_state(case.given, case.seed), torch.enable_grad():
        case.given.train()
        loss = _loss(case.call(case.given))
        if loss is None or not parameters:
            return None
        try:
            if backward:
                case.given.zero_grad()
                loss.backward()
                found = [parameter.grad for parameter in parameters]
            else:
                found = torch.autograd.grad(loss, parameters, allow_unused=True)
        except RuntimeError as error:
            if backward or "use_reentrant" not in str(error):
                raise
            found = None
    if found is None:
        return _gradients(case, parameters, backward=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


RANKS = Rule("AUD402", "the same seed on all ranks", "error")


def ranks(case: Case) -> Iterator[Finding]:
    """Ranks of one run that draw the same masks for different samples."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, hash(bytes(torch.get_rng_state().numpy())))
    addressed = all(getattr(m, "context", None) is not None for m in case.model.modules() if hasattr(m, "context"))
    drawn = any(site.op != "thinnet::apply_noise" for site in case.sites if site.on_in_train)
    if len(states) > 1 and len(set(states)) == 1 and (drawn or not addressed):
        evidence = f"All {len(states)} ranks have the same generator state: they drop the same units of different samples."
        yield Finding(RANKS, "", None, evidence, "Seed with the rank, or address the masks: rng.at(step, samples=ids).")


MEASURES = (variance_shift, masks_of_backward, ranks)
