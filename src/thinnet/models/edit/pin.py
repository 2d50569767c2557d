"""A module whose mode is pinned: what `model.train()` and `model.eval()` ask for is noted, and not done."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from thinnet.models.edit.slots import ABSENT

ASKED = "mode_asked_for"  # an attribute of the module, so that what puts its attributes back puts this back too


class Pinned:
    """Takes the place of a module's `train`, as an attribute of the instance: it keeps the module's own flag as it is.

    The children of the module go into the mode that is asked for. It is copied and pickled with its module.

    Args:
        module: whose mode it is.
        training: the mode that it keeps.
    """

    def __init__(self, module: nn.Module, training: bool) -> None:
        self.module, self.training = module, training

    def __call__(self, mode: bool = True) -> nn.Module:
        """Does what the class's `train` does, but for the flag of the module itself."""
        type(self.module).train(self.module, mode)
        vars(self.module)[ASKED], self.module.training = mode, self.training
        return self.module


@dataclass(frozen=True, eq=False)
class Mode:
    """The slot of a pin: taking it out brings the module into the mode that was asked for last."""

    owner: nn.Module

    def get(self) -> Any:
        """Returns what stands in for the module's `train`, or ABSENT."""
        return vars(self.owner).get("train", ABSENT)

    def put(self, value: Any) -> None:
        """Pins the mode, or lets it go."""
        own = vars(self.owner)
        asked = own.pop(ASKED, self.owner.training)
        own.pop("train", None)
        if value is not ABSENT:
            own["train"] = value
        if isinstance(value, Pinned):
            own[ASKED], asked = asked, value.training
        self.owner.training = asked
