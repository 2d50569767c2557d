"""Finds the modules whose mode turns dropout on, by tracing a copy of the model on a few rows, and caches them."""

import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from thinnet.inference.copies import sharing_copy
from thinnet.inference.mode.addressed import Addressed
from thinnet.models.edit.decisions import is_dropout_draw
from thinnet.models.edit.rates import is_dropout, owners
from thinnet.models.state import State, preserve_state, seed_all
from thinnet.models.trace import Trace, trace
from thinnet.models.trace.draws import Draw
from thinnet.rng import Site

SEEDS = (0, 1)


@dataclass(frozen=True)
class Switches:
    """The modules of a model that turn its dropout on.

    Args:
        paths: the modules whose mode turns dropout on.
        sites: the modules that draw.
        unaddressed: the draws that cannot have an address: module and operation.
        pooled: the modules that draw where axis 0 does not count the samples.
        bytes: the memory of one row in the largest tensor after the first draw.
        writes: whether a forward pass writes into its parameters.
    """

    paths: frozenset[str]
    sites: tuple[str, ...]
    unaddressed: tuple[str, ...]
    pooled: frozenset[str]
    bytes: float
    writes: bool


_lock = threading.Lock()
_known: "weakref.WeakKeyDictionary[nn.Module, dict[Any, Switches]]" = weakref.WeakKeyDictionary()


def switches(function: str, model: nn.Module, example: Any) -> Switches:
    """Returns the switches of a model for an example, from the cache if the model and the kind of example are the same."""
    key = fingerprint(model, example)
    with _lock:
        known = _known.setdefault(model, {})
        if key not in known:
            known.clear()
            try:
                known[key] = _found(function, model, few_rows(example))
            except Exception:  # the model does not run on a few rows
                known[key] = _found(function, model, example)
        return known[key]


def declared(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the modules that declare a drop rate above zero, by path."""
    return {owner.path: owner.module for owner in owners(model) if owner.p > 0 and not owner.idle}


def fingerprint(model: nn.Module, example: Any) -> Any:
    """Returns the key of the cache: the modules of the model, their plain attributes, and the kind of the example."""
    modules = tuple((name, id(module), _numbers(module)) for name, module in model.named_modules())
    leaves, spec = tree_flatten(dict(example) if isinstance(example, Mapping) else example)
    kinds = tuple((leaf.dtype, leaf.ndim, len(leaf) > 1 if leaf.ndim else False) for leaf in leaves if isinstance(leaf, Tensor))
    return hash(modules), str(spec), kinds


def _numbers(module: nn.Module) -> tuple[Any, ...]:
    plain = (bool, int, float, str)
    return tuple((name, value) for name, value in vars(module).items() if type(value) in plain and name != "training")


def count_rows(example: Any) -> int:
    """Returns the number of samples: the length of axis 0 of the first tensor with an axis."""
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
    served = Addressed(sharing_copy(function, model), 0)
    with preserve_state(served.model) as state, torch.no_grad():
        return _search(model, _Search(served, example, state))


class _Search:
    """Passes of a copied model on a few rows, with some modules in training mode.

    Args:
        served: the copy.
        example: its input.
        state: the values of its tensors. The parameters are those of the user, so each pass restores them.
    """

    def __init__(self, served: Addressed, example: Any, state: State) -> None:
        self.served, self.example, self.state, self.writes = served, example, state, False
        self.free = {name for module, name in served.names.items() if not isinstance(module, _NormBase)}

    def run(self, paths: set[str], seed: int) -> Trace:
        """Returns the record of a pass with the modules at `paths` in training mode."""
        self.served.switch(paths)
        seed_all(seed)
        copied = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, self.example)
        call = lambda: self.served.call(copied, torch.tensor(seed), None)  # noqa: E731
        record = trace(self.served.model, call, level="draws", own=True)  # not the models of other threads
        self.writes |= self.state.restore_tensors()
        return record

    def sites(self, paths: set[str]) -> set[tuple[str, str | None]]:
        """Returns the sites that draw with the modules at `paths` in training mode."""
        return {draw.site for seed in SEEDS for draw in self.run(paths & self.free, seed).draws}


def _search(model: nn.Module, search: _Search) -> Switches:
    names = search.served.names
    records = [search.run(search.free, seed) for seed in SEEDS]
    draws = [draw for record in records for draw in record.draws if is_dropout_draw(draw)]
    sites = {name for module, name in names.items() if isinstance(module, Site)}
    paths = _closed(search, draws) | ({draw.name for draw in draws} & sites)
    there = {name for name, _ in model.named_modules()}
    visited = {name for record in records for name in record.visited}
    silent = {path for path, module in declared(model).items() if path not in visited and is_dropout(module)}
    addressed = [draw for draw in draws if draw.op == "thinnet::apply_noise"]
    unaddressed = dict.fromkeys(
        f"{draw.name or 'the model'} ({draw.op.removeprefix('aten::')})" for draw in draws if draw not in addressed
    )
    rows = count_rows(search.example)
    pooled = {draw.name for draw in addressed if draw.shape[:1] != (rows,)}
    made = max(record.largest for record in records) / max(1, rows)
    switched = frozenset({_nearest(path, there) for path in paths} | silent)
    drawing = tuple(dict.fromkeys(_nearest(draw.name, there) for draw in draws))
    return Switches(switched, drawing, tuple(unaddressed), frozenset(pooled), made, search.writes)


def _nearest(path: str, there: set[str]) -> str:
    """Returns a path, or that of its nearest parent in the model."""
    while path and path not in there:
        path = path.rpartition(".")[0]
    return path


def _closed(search: _Search, draws: list[Draw]) -> set[str]:
    """Returns the paths whose modes turn every draw on that depends on a mode: its own module, or else a parent."""
    wanted = {draw.site for draw in draws} - search.sites(set())
    paths = {name for name, _ in wanted}
    while True:
        missing = {name for name, _ in wanted - search.sites(paths)}
        parents = {_parent(name, paths) for name in missing}
        if parents <= paths:
            return paths
        paths |= parents


def _parent(path: str, paths: set[str]) -> str:
    """Returns the nearest parent of a path that is not among `paths`; the root where all are."""
    while path and path in paths:
        path = path.rpartition(".")[0]
    return path
