"""The coins of a model on, and nothing else of it: a context for code that makes its own passes."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any

import torch
from torch import nn

from thinnet.inference.mode import thread_modes
from thinnet.inference.mode.addressed import Arguments
from thinnet.inference.mode.switches import declared, switches
from thinnet.models.edit.checks import checked, matches, refuse_unmatched
from thinnet.models.rewrite.methods import is_pinned


class mc_mode:
    """A context in which a model tosses its coins as in training, and is in eval in everything else.

    All kinds of coins are on: sites of thinnet, PyTorch's dropout modules, dropout that a forward method calls as a function or
    gives to attention, `nn.MultiheadAttention` and the recurrent layers, masks made by hand behind `self.training`. Norms are
    in eval, as modules and as functions, whatever mode the model is in; PyTorch's fused path through its encoder layers, which
    passes by their dropout, is closed.

    Which modules own a switch is found when the model is first called inside: a copy of its structure runs on a few rows of
    the call. Modules that declare a rate are on before. A forward method that does more with `self.training` than coins does
    that, too, where it owns a coin: nobody but its author can tell these apart.

    Modes are turned in the thread that is inside, and in no other. When the context is left, by whatever way, every module is
    as it was; contexts nest, of one model too. In between a module that is concerned has a class of its own, made from its
    class, so code that asks for `type(module) is ...` sees another one, and compiled code of the model is not used.

    Args:
        model: any module, in any mode. Sites that `thinnet.freeze` has pinned stay as they are.
        only: `fnmatch` over the paths of the modules that own coins: one pattern or several; all of them if left out. The model
            itself has the path "".
        example: what the model is called with; then the switches are found before the context is entered.

    Raises:
        TypeError: `model` is no module.
        ValueError: a pattern matches no module that owns coins, or the model has none. Without an example, that is known of a
            model whose coins are not declared when it is first called inside.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    >>> with mc_mode(model):
    ...     model[1].training, model[2].training
    (False, True)
    >>> model[2].training
    False
    """

    def __init__(self, model: nn.Module, only: str | Iterable[str] | None = None, example: Any = None) -> None:
        self.model = checked("mc_mode", model)
        self.compiled = [part for part in model.modules() if "_orig_mod" in part._modules]
        if isinstance(self.model, torch.jit.ScriptModule):
            raise TypeError("mc_mode: model must be no ScriptModule, whose modes are compiled in. Give the module itself.")
        self.only = None if only is None else (only,) if isinstance(only, str) else tuple(only)
        self.found = frozenset[str]()
        self.certain = example is not None
        if self.certain:
            self.found = self._find(example)
        else:
            self._check_declared()
        self._entered: list[_Entry] = []

    def _find(self, example: Any) -> frozenset[str]:
        found = switches("mc_mode", self.model, example)
        if not found.rng:
            step = "Insert dropout: thinnet.insert(model)"
            raise ValueError(f"mc_mode: model must have a coin that may drop; this one has none. {step}.")
        for pattern in self.only or ():
            if not any(matches(path, pattern) for path in found.paths):
                refuse_unmatched("mc_mode", pattern, found.paths, "a module that owns coins")
        return found.paths

    def learn(self, example: Any) -> None:
        """Finds the switches, unless they are known for certain."""
        if not self.certain:
            self.found, self.certain = self._find(example), True

    def _check_declared(self) -> None:
        self.found = frozenset(declared(self.model))
        paths = [path for path, _ in self.model.named_modules()]
        for pattern in self.only or ():
            if not any(matches(path, pattern) for path in paths):
                refuse_unmatched("mc_mode", pattern, self.found, "a module that owns coins")

    def __enter__(self) -> "mc_mode":
        self._entered.append(_Entry(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        mine = [entry for entry in self._entered if entry.counts is thread_modes.inside.counts]
        entry = (mine or self._entered)[-1]  # a generator may be closed by another thread than the one that it ran in
        self._entered.remove(entry)
        entry.undo()

    def owners(self) -> dict[str, nn.Module]:
        """Returns the modules whose coins are on, by path, as far as they are known now."""
        chosen = [path for path in self.found if self.only is None or any(matches(path, each) for each in self.only)]
        return {path: self.model.get_submodule(path) for path in sorted(chosen)}


class _Entry:
    """One time that a context was entered, by one thread."""

    def __init__(self, context: mc_mode) -> None:
        self.context, self.counts = context, thread_modes.inside.counts
        self.on, self.off, self.changed = self._turned()
        if not context.certain:
            self.counts.first.setdefault(id(context.model), []).append(self._first_call)

    def _turned(self) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
        """Turns modules on and off; returns those, and which have a class of their own now."""
        model, owners = self.context.model, {id(module) for module in self.context.owners().values() if not is_pinned(module)}
        owners |= {id(layer) for layer in _fused(model, owners)}
        there = list(model.modules())
        on = [module for module in there if id(module) in owners]
        off = [
            module for module in there if vars(module).get("training") and id(module) not in owners and not is_pinned(module)
        ]
        changed = thread_modes.enter({id(module): module for module in (*on, *off, model, *self.context.compiled)}.values())
        self.counts.turn(on, True, 1)
        self.counts.turn(off, False, 1)
        return on, off, changed

    def _first_call(self, args: Any, kwargs: Any) -> None:
        """Finds the switches with the arguments of a call, and turns these instead of the declared ones."""
        self.context.learn(Arguments(args, kwargs))
        before = self.on, self.off, self.changed
        self.on, self.off, self.changed = self._turned()
        self._back(*before)

    def undo(self) -> None:
        """Brings everything back."""
        number = id(self.context.model)
        waiting = [each for each in self.counts.first.pop(number, ()) if each != self._first_call]
        if waiting:
            self.counts.first[number] = waiting
        self._back(self.on, self.off, self.changed)

    def _back(self, on: list[nn.Module], off: list[nn.Module], changed: list[nn.Module]) -> None:
        self.counts.turn(on, True, -1)
        self.counts.turn(off, False, -1)
        thread_modes.leave(changed)


def _fused(model: nn.Module, owners: set[int]) -> list[nn.Module]:
    """Returns the layers of encoders that own coins: in training mode these take no fused path, and differ in nothing else."""
    kinds = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
    around = [
        part for part in model.modules() if isinstance(part, kinds) and any(id(each) in owners for each in part.modules())
    ]
    layers = [each for part in around for each in part.modules() if isinstance(each, nn.TransformerEncoderLayer)]
    return [layer for layer in layers if type(layer).forward is nn.TransformerEncoderLayer.forward]
