"""Traced passes of a model: in training, in evaluation, with some modes changed, and with one site redrawn."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import preserve_state
from thinnet.models.trace import Trace, trace
from thinnet.models.trace.operations import SiteId

Run = Callable[[nn.Module], Any]


def traced(model: nn.Module, call: Run, training: bool, off: Iterable[str] = (), inputs: Any = ()) -> Trace:
    """Runs the model once in one mode, with the modules in `off` in eval; `inputs` are what the model is called with."""
    model.train(training)
    modules = dict(model.named_modules())
    for name in off:
        if name in modules:
            modules[name].training = False
    with torch.set_grad_enabled(training):
        return trace(model, lambda: call(model), level="draws", inputs=inputs)


def effects(model: nn.Module, call: Run, tried: set[SiteId], seed: int) -> dict[SiteId, bool]:
    """Returns, for the sites that one pass reaches, whether the output changes where the site alone draws other numbers."""

    def run(redrawn: SiteId | None) -> tuple[Trace, list[Tensor]]:
        with preserve_state(model, seed), torch.no_grad():
            model.train()
            out: list[Any] = []
            record = trace(model, lambda: out.append(call(model)), level="draws", redrawn=redrawn)
            return record, [leaf.detach().clone() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]

    record, first = run(None)
    if not _same(first, run(None)[1]):  # a draw that the trace does not see
        return {}
    return {site: not _same(first, run(site)[1]) for site in tried & {draw.site for draw in record.draws}}


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(a.shape == b.shape and a.equal(b) for a, b in zip(one, other, strict=True))
