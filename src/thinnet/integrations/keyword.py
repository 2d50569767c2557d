"""Reads sample ids from the keyword arguments of a model, for libraries whose callbacks do not see the batch."""

from typing import Any

from torch import nn

from thinnet.rng import DropoutRNG
from thinnet.rng.sample_ids import KEY


class KeywordIds:
    """Removes the ids from the keyword arguments of a model's forward, and gives them to the rng."""

    def __init__(self, rng: DropoutRNG, key: str = KEY) -> None:
        self.rng, self.key = rng, key
        self.step = 0
        self.model: nn.Module | None = None

    def watch(self, model: nn.Module) -> None:
        """Binds the rng to the model, unless it is bound, and reads the ids of its forward passes from now on."""
        if self.model is model:
            return
        bound = {id(site) for site in self.rng.sites.values()}
        if not bound & {id(module) for module in model.modules()}:
            self.rng.unbind()
            self.rng.bind(model)
        model.register_forward_pre_hook(self._take, with_kwargs=True, prepend=True)
        self.model = model

    def _take(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        ids = kwargs.pop(self.key, None)
        if module.training:
            if ids is None:
                raise ValueError(f"DropoutRNGCallback: a training batch must hold ids as {self.key!r}; got {sorted(kwargs)}.")
            self.rng.at(self.step, ids)
        return args, kwargs
