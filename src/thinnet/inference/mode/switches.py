"""Which modules own a switch of coins: found by watching a copy of the model run on a few rows, and remembered."""

import sys
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from thinnet.inference.mode.addressed import Addressed
from thinnet.inference.mode.structure import structure
from thinnet.models.edit.rates import is_dropout, owners
from thinnet.models.state import preserve_state
from thinnet.models.trace.draws import Drawn
from thinnet.models.trace.operation import Operation
from thinnet.models.trace.outside import recorded
from thinnet.models.trace.uses import kind_of
from thinnet.models.trace.watch import Watch
from thinnet.rng import Site

SEEDS = (0, 1)
COINS = ("dropout", "multiplicative noise", "dropped keys", "subset", "decision")
Key = tuple[str, str | None]


@dataclass(frozen=True)
class Switches:
    """What a model does at random that is a coin.

    Args:
        paths: of the modules whose mode turns coins on.
        coins: the paths at which coins were tossed that may drop.
        unnamed: where coins are drawn that no name can be given to, with the operation.
        pooled: paths of modules that toss where axis 0 does not count the samples.
        bytes: how many bytes a row takes in the largest tensor that is made after the first coin.
    """

    paths: frozenset[str]
    rng: tuple[str, ...]
    unnamed: tuple[str, ...]
    pooled: frozenset[str]
    bytes: float


class Measured(Watch):
    """A watch that also notes how large tensors become after the first draw."""

    largest = 0

    def _note(self, call: Operation, used: list[Drawn]) -> None:
        before = self.bytes
        super()._note(call, used)
        if self.drawn:
            self.largest = max(self.largest, self.bytes - before)


_lock = threading.Lock()
_known: "weakref.WeakKeyDictionary[nn.Module, dict[Any, Switches]]" = weakref.WeakKeyDictionary()


def switches(function: str, model: nn.Module, example: Any) -> Switches:
    """Returns the switches of a model that is called with an example; what was found before is remembered."""
    key = fingerprint(model, example)
    with _lock:
        known = _known.setdefault(model, {})
        if key not in known:
            known.clear()
            try:
                known[key] = _found(function, model, few_rows(example))
            except Exception:  # no model that a few rows can be given to
                known[key] = _found(function, model, example)
        return known[key]


def declared(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the modules that declare a rate of dropping above zero, by path."""
    return {owner.path: owner.module for owner in owners(model) if owner.p > 0 and not owner.idle}


def fingerprint(model: nn.Module, example: Any) -> Any:
    """Returns what tells one state of a model's code from another: its modules, their numbers, and the kind of the example."""
    modules = tuple((name, id(module), _numbers(module)) for name, module in model.named_modules())
    leaves, spec = tree_flatten(dict(example) if isinstance(example, Mapping) else example)
    kinds = tuple((leaf.dtype, leaf.ndim, len(leaf) > 1 if leaf.ndim else False) for leaf in leaves if isinstance(leaf, Tensor))
    return hash(modules), str(spec), kinds


def _numbers(module: nn.Module) -> tuple[Any, ...]:
    plain = (bool, int, float, str)
    return tuple((name, value) for name, value in vars(module).items() if type(value) in plain and name != "training")


def count_rows(example: Any) -> int:
    """Returns how many samples there are: the length of axis 0 of the first tensor that has one."""
    return next((len(leaf) for leaf in tree_leaves(example) if isinstance(leaf, Tensor) and leaf.ndim), 0)


def take_rows(example: Any, rows: slice | list[int]) -> Any:
    """Returns rows of every tensor whose axis 0 counts the samples."""
    count = count_rows(example)

    def take(leaf: Any) -> Any:
        return leaf[rows] if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == count else leaf

    return tree_map(take, dict(example) if isinstance(example, Mapping) else example)


def few_rows(example: Any) -> Any:
    """Returns the first, the middle and the last row; a single row three times."""
    count = count_rows(example)
    return take_rows(example, [0, count // 2, count - 1]) if count else example


def _found(function: str, model: nn.Module, example: Any) -> Switches:
    served = Addressed(structure(function, model), 0)
    rows, free = count_rows(example), {name for module, name in served.names.items() if not isinstance(module, _NormBase)}
    watches = [_pass(served, example, free, seed) for seed in SEEDS]
    events = [event for watch in watches for event in watch.drawn if _is_coin(event)]
    sites = {name for module, name in served.names.items() if isinstance(module, Site)}
    paths = _closed(served, example, events, free) | ({event.name for event in events} & sites)
    there = {name for name, _ in model.named_modules()}
    visited = {name for watch in watches for name in watch.visited}
    silent = {path for path, module in declared(model).items() if path not in visited and is_dropout(module)}
    named = [event for event in events if event.op == "thinnet::apply_noise"]
    unnamed = dict.fromkeys(f"{e.name or 'the model'} ({e.op.removeprefix('aten::')})" for e in events if e not in named)
    pooled = {event.name for event in named if event.shape[:1] != (rows,)}
    made = max(watch.largest for watch in watches) / max(1, rows)
    switched = frozenset({_nearest(path, there) for path in paths} | silent)
    rng = tuple(dict.fromkeys(_nearest(event.name, there) for event in events))
    return Switches(switched, rng, tuple(unnamed), frozenset(pooled), made)


def _nearest(path: str, there: set[str]) -> str:
    """Returns a path that is in the model, or the one of its nearest parent that is."""
    while path and path not in there:
        path = path.rpartition(".")[0]
    return path


def _is_coin(event: Drawn) -> bool:
    if event.op == "thinnet::apply_noise":
        return True
    return bool(event.use) and kind_of(event) in COINS and "rrelu" not in event.op


def _closed(served: Addressed, example: Any, events: list[Drawn], free: set[str]) -> set[str]:
    """Returns the paths whose modes are enough for every event that hangs on a mode; where one's own is not, a parent's is."""
    wanted = {(event.name, event.line) for event in events} - _seen(served, example, set())
    paths = {name for name, _ in wanted}
    while True:
        missing = {name for name, _ in wanted - _seen(served, example, paths & free)}
        parents = {_parent(name, paths) for name in missing}
        if parents <= paths:
            return paths
        paths |= parents


def _seen(served: Addressed, example: Any, paths: set[str]) -> set[Key]:
    return {(event.name, event.line) for seed in SEEDS for event in _pass(served, example, paths, seed).drawn}


def _parent(path: str, paths: set[str]) -> str:
    """Returns the nearest parent of a path that is not among `paths`; the root where all are."""
    while path and path in paths:
        path = path.rpartition(".")[0]
    return path


def _pass(served: Addressed, example: Any, paths: set[str], seed: int) -> Measured:
    served.switch(paths)
    copied = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, example)
    with preserve_state(served.model, seed), torch.no_grad(), _watching(served.model) as watch:
        watch.ended(served.call(copied, torch.tensor(seed), None))
    return watch


@contextmanager
def _watching(model: nn.Module) -> Iterator[Measured]:
    """Watches a model that is nobody else's by hooks of its own: other threads run theirs in the meantime."""
    watch = Measured(model, sys._getframe(2))
    handles: list[Any] = []
    for module in model.modules():
        handles.append(module.register_forward_pre_hook(watch._enter, prepend=True))
        handles.append(module.register_forward_hook(watch._leave, always_call=True))
    try:
        with recorded(watch.place, watch.drawn, watch.outermost), watch:
            yield watch
    finally:
        for handle in handles:
            handle.remove()
