"""Replaces a method of one module by an attribute of the instance, which is copied and pickled with the module."""

from dataclasses import dataclass
from inspect import Signature, signature
from types import CodeType
from typing import Any, ClassVar

from torch import nn

from thinnet.models.rewrite.edits import ABSENT, Entry, Write

ASKED = "mode_asked_for"  # an attribute of the module, so that restoring the attributes restores it too


class Replacement:
    """Replaces a method of one module; a subclass defines `__call__`.

    Args:
        module: the module whose method it replaces.
    """

    name: ClassVar[str] = "forward"

    def __init__(self, module: nn.Module) -> None:
        self.module, self.before = module, vars(module).get(self.name)

    @property
    def method(self) -> Any:
        """What it replaces: the method of the class, or another attribute of the instance."""
        return self.before or getattr(type(self.module), self.name).__get__(self.module)

    @property
    def __signature__(self) -> Signature:
        """The signature of the method: callers inspect which arguments a module takes."""
        return signature(self.method)

    @property
    def __code__(self) -> CodeType:
        """The code of the method: `torch.export` names constraints by it."""
        return self.method.__code__

    def write(self) -> Write:
        """Returns the write that puts it in place."""
        return Write(Entry(self.module, "__dict__", self.name), self)

    def put(self) -> None:
        """Puts it in place."""
        vars(self.module)[self.name] = self


class Pinned(Replacement):
    """Replaces `train` of a module: its own flag keeps one mode, and its children follow the mode that is asked for.

    Args:
        module: the module.
        training: the mode that it keeps.
    """

    name = "train"

    def __init__(self, module: nn.Module, training: bool) -> None:
        super().__init__(module)
        self.training = training

    def __call__(self, mode: bool = True) -> nn.Module:
        """Runs `train` of the class, and restores the flag of the module."""
        type(self.module).train(self.module, mode)
        vars(self.module)[ASKED], self.module.training = mode, self.training
        return self.module


@dataclass(frozen=True, eq=False)
class Mode:
    """The slot of `Pinned`: removing it sets the module to the mode that was asked for last."""

    owner: nn.Module

    def get(self) -> Any:
        """Returns what replaces `train`, or `ABSENT`."""
        return vars(self.owner).get("train", ABSENT)

    def put(self, value: Any) -> None:
        """Pins the mode, or releases it."""
        own = vars(self.owner)
        asked = own.pop(ASKED, self.owner.training)
        own.pop("train", None)
        if value is not ABSENT:
            own["train"] = value
        if isinstance(value, Pinned):
            own[ASKED], asked = asked, value.training
        self.owner.training = asked


def is_pinned(module: nn.Module) -> bool:
    """Returns whether the mode of a module is pinned."""
    return isinstance(vars(module).get("train"), Pinned)
