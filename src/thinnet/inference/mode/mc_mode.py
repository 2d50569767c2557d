"""MC mode: a context in which dropout is on and everything else is in eval."""

from collections.abc import Iterable
from types import TracebackType
from typing import Any

from torch import nn

from thinnet.inference.mode import thread_modes
from thinnet.inference.mode.addressed import Arguments
from thinnet.inference.mode.switches import declared, switches
from thinnet.models.edit.checks import check_model, check_scripted, matches, refuse_unmatched
from thinnet.models.rewrite.methods import is_pinned


class mc_mode:
    """Turns the dropout of a model on, and keeps everything else in eval, whatever mode the model is in.

    It covers every kind of dropout: sites, dropout modules of PyTorch, functions, attention, recurrent layers, and masks made
    by hand under `self.training`. Norms stay in eval, as modules and as functions. PyTorch's fused path through its encoder
    layers skips dropout, so it is off.

    At the first call inside, a copy of the model runs on a few rows of the input, to find the modules whose mode controls
    dropout. Until then, modules that declare a rate are on. If such a module does more than dropout under `self.training`,
    that is on too.

    Only the thread that enters the context sees the modes. On exit, every module is as before. Contexts nest. Inside, the
    modules have a derived class, so `type(module) is ...` fails, and compiled code of the model does not run.

    Args:
        model: any module, in any mode. Sites that `thinnet.freeze` has pinned keep their mode.
        only: one or several `fnmatch` patterns over the paths of modules with dropout; all by default. The model itself has
            the path "".
        example: an input of the model; with it, the modules are found before the context is entered.

    Raises:
        TypeError: `model` is no module, or dropout is in a ScriptModule.
        ValueError: a pattern matches no module with dropout, or the model has no dropout. Without an example, dropout that no
            module declares is only looked for in the first call inside.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).eval()
    >>> with mc_mode(model):
    ...     model[1].training, model[2].training
    (False, True)
    >>> model[2].training
    False
    """

    def __init__(self, model: nn.Module, only: str | Iterable[str] | None = None, example: Any = None) -> None:
        self.model = check_model("mc_mode", model)
        self.compiled = [part for part in model.modules() if "_orig_mod" in part._modules]
        check_scripted("mc_mode", self.model)
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
        if not found.sites:
            step = "Insert dropout: thinnet.insert(model)"
            raise ValueError(f"mc_mode: model must contain active dropout; it has none. {step}.")
        for pattern in self.only or ():
            if not any(matches(path, pattern) for path in found.paths):
                refuse_unmatched("mc_mode", pattern, found.paths, "a module with dropout")
        return found.paths

    def learn(self, example: Any) -> None:
        """Finds the modules that control dropout, unless an example or a call has shown them."""
        if not self.certain:
            self.found, self.certain = self._find(example), True

    def _check_declared(self) -> None:
        self.found = frozenset(declared(self.model))
        paths = [path for path, _ in self.model.named_modules()]
        for pattern in self.only or ():
            if not any(matches(path, pattern) for path in paths):
                refuse_unmatched("mc_mode", pattern, self.found, "a module with dropout")

    def __enter__(self) -> "mc_mode":
        self._entered.append(_Entry(self))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        mine = [entry for entry in self._entered if entry.counts is thread_modes.inside.counts]
        entry = (mine or self._entered)[-1]  # another thread may close a generator
        self._entered.remove(entry)
        entry.undo()

    def owners(self) -> dict[str, nn.Module]:
        """Returns the modules that are on, by path, as far as they are known."""
        chosen = [path for path in self.found if self.only is None or any(matches(path, each) for each in self.only)]
        return {path: self.model.get_submodule(path) for path in sorted(chosen)}


class _Entry:
    """One use of a context, by one thread."""

    def __init__(self, context: mc_mode) -> None:
        self.context, self.counts = context, thread_modes.inside.counts
        self.on, self.off, self.changed = self._turned()
        if not context.certain:
            self.counts.first.setdefault(id(context.model), []).append(self._first_call)

    def _turned(self) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
        """Turns modules on and off; returns both, and the modules that have a derived class now."""
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
        """Finds the modules from the arguments of the first call, and turns on these instead of the declared ones."""
        self.context.learn(Arguments(args, kwargs))
        before = self.on, self.off, self.changed
        self.on, self.off, self.changed = self._turned()
        self._back(*before)

    def undo(self) -> None:
        """Restores the modes and classes."""
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
    """Returns the encoder layers with dropout: training mode only keeps these off the fused path."""
    kinds = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
    around = [
        part for part in model.modules() if isinstance(part, kinds) and any(id(each) in owners for each in part.modules())
    ]
    layers = [each for part in around for each in part.modules() if isinstance(each, nn.TransformerEncoderLayer)]
    return [layer for layer in layers if type(layer).forward is nn.TransformerEncoderLayer.forward]
