"""The check of an audit for masks of the backward pass: recomputed ones, and gradients that do not belong to the output."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.audit.case import Case
from thinnet.models.found import DROPS
from thinnet.models.state import State, preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.draws import Draw
from thinnet.report.findings import Finding, Location, Rule

BACKWARD = Rule("AUD203", "forward and backward have different masks", "error")
WRONG = 0.05  # the relative error of a derivative that is reported
STABLE = 0.02  # the relative change of a derivative from one step to the next at which it is taken
STEPS = (1e-1, 2e-2, 4e-3, 8e-4, 1.6e-4)  # expected changes of the output, relative to the output
REPEATS = 3  # weights of the loss: a rounding function may look smooth along one direction by chance
Mode = Callable[[nn.Module], Any]


def masks_of_backward(case: Case) -> Iterator[Finding]:
    """Masks that differ when activations are recomputed for backward, and gradients that do not belong to the output."""
    recomputed = _recomputed(case)
    if recomputed is not None:
        evidence = f"{recomputed.op} drew again for the backward pass, and drew other numbers."
        remedy = "Use checkpoint(..., preserve_rng_state=True), or addressed masks."
        yield Finding(BACKWARD, recomputed.name, Location.parse(recomputed.line), evidence, remedy)
        return
    random = any(site.on_in_train and site.kind in DROPS for site in case.sites)
    surrogate = any(getattr(module, "surrogate_gradient", False) for module in case.model.modules())
    errors = _wrong_by_masks(case) if random and not surrogate else []
    if errors:
        error = min(errors)
        evidence = f"Along the gradient, the output at one seed changes by {error:.0%} more or less than the gradient says."
        remedy = "Addressed masks (thinnet.DropoutRNG) are the same in every recomputation; see activation_memory_budget."
        yield Finding(BACKWARD, "", None, evidence, remedy)


def _wrong_by_masks(case: Case) -> list[float]:
    """Returns the relative errors of several derivatives; none unless each is wrong with the masks and right without them."""
    errors = []
    for weights in range(REPEATS):
        error = derivative_error(case, nn.Module.train, weights=weights)
        if error is None or error <= WRONG or not _right_without_masks(case, error / 3, weights):
            return []
        errors.append(error)
    return errors


def _recomputed(case: Case) -> Draw | None:
    """Returns a draw of the forward pass that the backward pass makes again with other numbers."""
    with preserve_state(case.model, case.seed):
        case.model.train()
        with torch.enable_grad():
            record = trace(case.model, lambda: case.call(case.model), level="draws", loss=_loss)
    for draw in record.backward_draws:
        same = [first for first in record.draws if first.shape == draw.shape and _same_place(first, draw)]
        if same and draw.digest not in {first.digest for first in same}:
            return draw
    return None


def _same_place(first: Draw, again: Draw) -> bool:
    """Returns whether one line, or one module, makes both draws; a checkpointed function is no module."""
    return first.op == again.op and (first.name == again.name if again.name else first.line == again.line is not None)


def _differentiable(out: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.requires_grad]


def _loss(out: Any, weights: int = 0) -> Tensor | None:
    """Returns a sum of all outputs, each number with a fixed weight of its own; `weights` is the seed of the weights."""
    leaves = _differentiable(out)
    if not leaves:
        return None
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(weights)
        factors = [torch.randn(leaf.shape, dtype=torch.float64).to(leaf.device) for leaf in leaves]
    parts = [(leaf.double() * factor).sum() for leaf, factor in zip(leaves, factors, strict=True)]
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def _right_without_masks(case: Case, most: float, weights: int) -> bool:
    """Returns whether the derivative is right, up to an error, with the masks off: then it is the masks that make it wrong.

    Straight-through estimators, stopped gradients and rounded weights have other gradients with and without masks.
    """
    owners = {site.name for site in case.sites if site.on_in_train and site.kind in DROPS}

    def without(model: nn.Module) -> None:
        model.train()
        for name, module in model.named_modules():
            if name.removeprefix("_orig_mod.") in owners:
                module.training = False

    modes: tuple[Mode, ...] = without, nn.Module.eval
    errors = [derivative_error(case, mode, stable=True, weights=weights) for mode in modes]
    return all(error is not None and error <= min(most, WRONG) for error in errors)


def derivative_error(case: Case, mode: Mode, stable: bool = False, weights: int = 0) -> float | None:
    """Returns the relative error of the gradient, against the change of the output along it at one seed.

    Steps shrink until the change agrees with the gradient, or with the change of the step before; with `stable=True` only the
    second counts. None where neither happens, where there is nothing to differentiate, and where the forward pass writes into
    parameters.
    """
    parameters = [p for p in case.given.parameters() if p.requires_grad and p.is_floating_point()]
    with preserve_state(case.given, case.seed) as state, torch.enable_grad():
        along, size = _gradients(case, mode, parameters, state, weights)
        length = float(torch.stack([g.double().norm() for g in along]).norm()) if along else 0.0
        if not length or not size:
            return None
        before = None
        for step in (part * size / length for part in STEPS):
            ends = [_moved(case, mode, parameters, along, sign * step / length, state, weights) for sign in (1, -1)]
            slope = (ends[0] - ends[1]) / (2 * step)
            error = abs(slope - length) / length
            if (error <= WRONG and not stable) or (before is not None and abs(slope - before) <= STABLE * abs(before)):
                return error
            before = slope
    return None


def _moved(
    case: Case, mode: Mode, parameters: list[nn.Parameter], along: list[Tensor], shift: float, state: State, weights: int
) -> float:
    """Returns the loss with the parameters moved along the gradient."""
    state.rewind()
    mode(case.given)
    with torch.no_grad():
        for parameter, direction in zip(parameters, along, strict=True):
            parameter.add_(direction, alpha=shift)
    loss = _loss(case.call(case.given), weights)
    return 0.0 if loss is None else float(loss.detach())


def _gradients(
    case: Case, mode: Mode, parameters: list[nn.Parameter], state: State, weights: int, backward: bool = False
) -> tuple[list[Tensor], float]:
    """Returns the gradients of the loss and the length of the output; none where the forward pass writes into parameters.

    `backward=True` takes them by `backward()`, the only way for reentrant checkpoints.
    """
    state.rewind()
    mode(case.given)
    out = case.call(case.given)
    loss = _loss(out, weights)
    if loss is None or not parameters or state.changed(parameters):
        return [], 0.0
    trained = [parameter for parameter in parameters if parameter.requires_grad]  # a forward pass may freeze some
    try:
        if backward:
            case.given.zero_grad()
            loss.backward()
            found = [parameter.grad for parameter in trained]
        else:
            found = list(torch.autograd.grad(loss, trained, allow_unused=True))
    except RuntimeError as error:
        if backward or "use_reentrant" not in str(error):
            raise
        return _gradients(case, mode, parameters, state, weights, backward=True)
    by_id = {id(parameter): gradient for parameter, gradient in zip(trained, found, strict=True) if gradient is not None}
    along = [by_id.get(id(parameter), torch.zeros_like(parameter)) for parameter in parameters]
    size = torch.stack([leaf.detach().double().norm().cpu() for leaf in _differentiable(out)]).norm()
    return along, float(size)
