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
from thinnet.models.edit.decisions import decisions, is_dropout_draw
from thinnet.models.edit.rates import is_dropout, owners
from thinnet.models.state import State, preserve_state, seed_all
from thinnet.models.trace import Trace, trace
from thinnet.models.trace.record import ADDRESSED, Draw, SiteId
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

    def run(self, paths: set[str], seed: int) -> tuple[Trace, Any]:
        """Returns the record of a pass with the modules at `paths` in training mode, and the structure of the output."""
        self.served.switch(paths)
        seed_all(seed)
        copied = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, self.example)
        out: list[Any] = []

        def call() -> None:
            out.append(self.served.call(copied, torch.tensor(seed), None))

        record = trace(self.served.model, call, level="draws", own=True)  # not the models of other threads
        self.writes |= self.state.restore_tensors()
        return record, str(tree_flatten(out)[1])

    def everything(self) -> list[Trace]:
        """Returns passes with all modules but norms in training mode; if the model does not run so, only those that decide."""
        try:
            return [self.run(self.free, seed)[0] for seed in SEEDS]
        except Exception:  # as a detector does that is called without targets
            model = self.served.model
            deciding = {each.path for each in decisions(model) if each.by_mode} | declared(model).keys()
            self.free &= deciding | {name for module, name in self.served.names.items() if isinstance(module, Site)}
            return [self.run(self.free, seed)[0] for seed in SEEDS]

    def sites(self, paths: set[str]) -> tuple[set[SiteId], Any]:
        """Returns the sites that draw with the modules at `paths` in training mode, and the structures of the outputs."""
        passes = [self.run(paths & self.free, seed) for seed in SEEDS]
        return {draw.site for record, _ in passes for draw in record.draws}, [structure for _, structure in passes]


def _search(model: nn.Module, search: _Search) -> Switches:
    names = search.served.names
    records = search.everything()
    draws = [draw for record in records for draw in record.draws if is_dropout_draw(draw)]
    sites = {name for module, name in names.items() if isinstance(module, Site)}
    paths = _closed(search, draws) | ({draw.name for draw in draws} & sites)
    there = {name for name, _ in model.named_modules()}
    visited = {name for record in records for name in record.visited}
    silent = {path for path, module in declared(model).items() if path not in visited and is_dropout(module)}
    addressed = [draw for draw in draws if draw.op in ADDRESSED]
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
    """Returns the paths whose modes turn on every draw that depends on a mode: its own module, and some of its parents.

    A parent counts if its mode brings a draw back and the model still returns what it returns in eval: the mode of a root
    with an auxiliary head does not.
    """
    always, structure = search.sites(set())
    wanted = {draw.site for draw in draws} - always
    paths = {name for name, _ in wanted}
    missing = wanted - search.sites(paths)[0]
    for name in sorted({name for name, _ in missing}):
        if name in {name for name, _ in missing}:
            for more in _parents(name):
                there, returned = search.sites(paths | more)
                if returned == structure and not missing <= wanted - there:
                    paths, missing = paths | more, missing - there
                    break
    return paths


def _parents(path: str) -> list[set[str]]:
    """Returns each parent of a path, the nearest first, and all of them.

    >>> [sorted(each) for each in _parents("a.b")]
    [['a'], [''], ['', 'a']]
    """
    parts = path.split(".") if path else []
    found = [".".join(parts[:count]) for count in range(len(parts) - 1, -1, -1)]
    return [{each} for each in found] + ([set(found)] if len(found) > 1 else [])
