"""Binds an rng to the model of a training, and reads sample ids from the keyword arguments of its forward."""

from typing import Any

from torch import nn

from thinnet.rng import DropoutRNG
from thinnet.rng.sample_ids import KEY


def bind_to(rng: DropoutRNG, model: nn.Module) -> None:
    """Binds an rng to a model, unless it is bound to a part of it. It leaves the model of an earlier training."""
    bound = {id(site) for site in rng.sites.values()}
    if not bound & {id(module) for module in model.modules()}:
        rng.unbind()
        rng.bind(model)


class KeywordIds:
    """Removes the ids from the keyword arguments of a model's forward, and gives them to the rng while a training runs."""

    def __init__(self, rng: DropoutRNG, key: str = KEY) -> None:
        self.rng, self.key = rng, key
        self.step = 0
        self.training = False
        self.model: nn.Module | None = None

    def begin(self, model: nn.Module) -> None:
        """Binds the rng to the model of a training, and reads the ids of its forward passes from now on."""
        bind_to(self.rng, model)
        if self.model is not None:
            _unhook(self.model, self.key)
        _unhook(model, self.key)  # the callback of an earlier training
        model.register_forward_pre_hook(self._take, with_kwargs=True, prepend=True)
        self.model, self.training = model, True

    def end(self) -> None:
        """Ends a training: forward passes need no ids from now on, and may have some."""
        self.training = False

    def _take(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids = kwargs.pop(self.key, None)
        if module.training and self.training:
            if ids is None:
                raise ValueError(f"DropoutRNGCallback: a training batch must hold ids as {self.key!r}; got {sorted(kwargs)}.")
            self.rng.at(self.step, ids)
        return args, kwargs


def _unhook(model: nn.Module, key: str) -> None:
    for number, hook in [*model._forward_pre_hooks.items()]:
        reader = getattr(hook, "__self__", None)
        if isinstance(reader, KeywordIds) and reader.key == key:
            del model._forward_pre_hooks[number]
            model._forward_pre_hooks_with_kwargs.pop(number, None)
