"""Passes of a model under watch: in training, in evaluation, with some modes turned, and with one site drawing anew."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import preserve_state
from thinnet.models.trace.watch import Watch, storage_of, watching

Key = tuple[str, str | None]  # the path of a module, and the calling line
Run = Callable[[nn.Module], Any]


def keys(watch: Watch) -> Iterator[Key]:
    """Returns the site of each draw of a pass, in order."""
    return ((event.name, event.line) for event in watch.drawn)


def watched(model: nn.Module, call: Run, training: bool, off: Iterable[str] = (), inputs: Any = ()) -> Watch:
    """Runs the model once; the modules in `off` alone are in eval. `inputs` are what the model is called with."""
    model.train(training)
    modules = dict(model.named_modules())
    for name in off:
        if name in modules:
            modules[name].training = False
    with torch.set_grad_enabled(training), watching(model) as watch:
        watch.inputs = {storage_of(leaf) for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)}
        watch.ended(call(model))
    return watch


def effects(model: nn.Module, call: Run, tried: set[Key], seed: int) -> dict[Key, bool]:
    """Returns, of the sites that one pass comes by, whether its output is another one where a site alone draws anew."""

    def run(redrawn: Key | None) -> tuple[Watch, list[Tensor]]:
        with preserve_state(model, seed):
            model.train()
            with torch.no_grad(), watching(model, redrawn) as watch:
                out = call(model)
            return watch, [leaf.detach().clone() for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]

    watch, first = run(None)
    if not _same(first, run(None)[1]):  # something draws that nobody sees
        return {}
    return {key: not _same(first, run(key)[1]) for key in tried & set(keys(watch))}


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(a.shape == b.shape and a.equal(b) for a, b in zip(one, other, strict=True))
