"""Traced passes of a model: in training, in evaluation, with some modes changed, and with some sites redrawn."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import State
from thinnet.models.trace import Trace, trace
from thinnet.models.trace.operations import Redrawn
from thinnet.models.trace.record import Draw, SiteId

Run = Callable[[nn.Module], Any]
READ_BY_PYTHON = ("decides", "chooses")


def traced(
    model: nn.Module,
    call: Run,
    training: bool,
    off: Iterable[str] = (),
    inputs: Any = (),
    objects: Sequence[Any] = (),
    hold: bool = False,
) -> Trace:
    """Runs the model once in one mode, with the modules in `off` in eval.

    Args:
        model: the model.
        call: runs it.
        training: the mode.
        off: paths of modules that are in eval.
        inputs: what the model is called with.
        objects: random generators that it reaches.
        hold: whether each draw holds the tensor that its use made.
    """
    switch(model, training, off)
    with torch.set_grad_enabled(training):
        return trace(model, lambda: call(model), level="draws", inputs=inputs, objects=objects, hold=hold)


def switch(model: nn.Module, training: bool, off: Iterable[str] = ()) -> None:
    """Puts a model into a mode, and the modules in `off` into eval."""
    model.train(training)
    modules = dict(model.named_modules())
    for name in off:
        if name in modules:
            modules[name].training = False


def with_gradient(model: nn.Module, call: Run, inputs: Any, objects: Sequence[Any]) -> tuple[Trace, set[SiteId]]:
    """Returns a training pass, and the sites at whose use the gradient of its outputs is not zero."""
    out: list[Any] = []

    def run(model: nn.Module) -> Any:
        out.append(call(model))
        return out[-1]

    record = traced(model, run, training=True, inputs=inputs, objects=objects, hold=True)
    found = _sensitive(out, record.draws)
    for draw in record.draws:
        draw.made = None
    return record, found


def effects(model: nn.Module, call: Run, tried: set[SiteId], found: set[SiteId], state: State) -> dict[SiteId, bool]:
    """Returns, for the sites of one pass, whether the output depends on what the site draws.

    It does at those in `found`, where the gradient is not zero. Where it is, or where there is none, the site draws other
    numbers: first all of these together, then each alone if that changed the output.
    """
    effect, left = dict.fromkeys(found & tried, True), tried - found
    if not left:
        return effect
    first, reached = _outputs(model, call, True, state, Redrawn())
    left &= reached
    again, all_others = (_outputs(model, call, True, state, Redrawn(sites))[0] for sites in ((), left))
    if not _same(first, again):  # a draw that the trace does not see
        return effect
    if _same(first, all_others):
        return effect | dict.fromkeys(left, False)
    return effect | {site: not _same(first, _outputs(model, call, True, state, Redrawn({site}))[0]) for site in left}


def unread(
    model: nn.Module, call: Run, draws: Iterable[Draw], training: bool, state: State, off: Iterable[str] = ()
) -> set[SiteId]:
    """Returns the sites whose numbers Python reads, but the output does not depend on, even if they are low or high."""
    tried = {draw.site for draw in draws if draw.use in READ_BY_PYTHON}
    if not tried:
        return set()
    first, reached = _outputs(model, call, training, state, Redrawn(), off)
    if not _same(first, _outputs(model, call, training, state, Redrawn(), off)[0]):
        return set()

    def same(site: SiteId, end: str) -> bool:
        return _same(first, _outputs(model, call, training, state, Redrawn({site}, end), off)[0])

    return {site for site in tried & reached if same(site, "low") and same(site, "high")}


def _outputs(
    model: nn.Module, call: Run, training: bool, state: State, redrawn: Redrawn, off: Iterable[str] = ()
) -> tuple[list[Tensor], set[SiteId]]:
    """Returns the output of a pass from the same state, in which some sites draw other numbers, and the sites reached."""
    state.rewind()
    switch(model, training, off)
    out: list[Any] = []
    with torch.no_grad():
        record = trace(model, lambda: out.append(call(model)), level="draws", redrawn=redrawn, objects=state.generators)
        tensors = [leaf.detach().clone() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
    return tensors, {draw.site for draw in record.draws}


def _sensitive(out: Any, draws: list[Draw]) -> set[SiteId]:
    """Returns the sites at whose use the gradient of a sum of the outputs, with random weights, is not zero."""
    leaves = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and leaf.requires_grad]
    made = [(draw.site, draw.made) for draw in draws if draw.made is not None and draw.made.requires_grad]
    if not leaves or not made:
        return set()
    try:
        weights = [torch.randn_like(leaf) for leaf in leaves]
        gradients = torch.autograd.grad(leaves, [tensor for _, tensor in made], weights, allow_unused=True)
    except RuntimeError:  # there is no backward pass, or not one to some tensors alone: other numbers will tell
        return set()
    return {
        site
        for (site, _), gradient in zip(made, gradients, strict=True)
        if gradient is not None and bool((gradient.abs() > 0).any())
    }


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(a.shape == b.shape and a.equal(b) for a, b in zip(one, other, strict=True))
