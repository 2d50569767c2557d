"""What takes the place of a module's `forward`: an attribute of the instance that still looks like the method."""

from inspect import Signature, signature
from types import CodeType
from typing import Any

from torch import nn


class Forward:
    """Takes the place of a module's `forward`. It is copied and pickled with its module, and knows what was there before.

    Args:
        module: whose `forward` it is.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module, self.before = module, vars(module).get("forward")

    @property
    def method(self) -> Any:
        """What was there before: the method of the class, or another attribute of the instance."""
        return self.before or type(self.module).forward.__get__(self.module)

    @property
    def __signature__(self) -> Signature:
        """That of the method, for those who ask which arguments a module takes."""
        return signature(self.method)

    @property
    def __code__(self) -> CodeType:
        """That of the method, for `torch.export`, which says by it where a constraint comes from."""
        return self.method.__code__
