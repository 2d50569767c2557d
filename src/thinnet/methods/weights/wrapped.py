"""A dropout site around a layer that does not change the checkpoint: its keys are those of the bare layer.

The wrapped layer is the child `layer`, and its parameters stay the same objects: an optimiser that was made before still holds
them, and tied weights stay tied. Names in `named_parameters` and `named_modules` start with `layer.`.
"""

from collections.abc import MutableMapping
from typing import Any

from torch import Tensor, nn

from thinnet.rng import Site

INNER = "layer."


def check_layer(function: str, layer: object, allowed: tuple[type[nn.Module], ...]) -> None:
    """Raises TypeError unless the layer has one of the allowed classes."""
    if not isinstance(layer, allowed):
        names = ", ".join(kind.__name__ for kind in allowed)
        raise TypeError(f"{function}: layer must be one of {names}; got {type(layer).__name__}.")


class Wrapped(Site):
    """A dropout site that holds the layer whose weights or input it changes. Subclasses write `drop` or `forward`, and
        `layers`.

    The keys in `state_dict` are those of the bare layer ("weight" instead of "layer.weight"), at any depth of a model, so bare
    and wrapped layers load each other's checkpoints. What a subclass registers keeps its own key. The attributes of the layer
    are attributes of the wrapper (`wrapped.weight`, `wrapped.in_features`), and `wrapped.weight = other.weight` ties the
    layer's weight. Give `wrapped.layer` to tools that register something on a layer, such as pruning.

    Args:
        layer: an instance of one of the classes in `layers`.
        p: the rate; None if there is no common rate.

    Raises:
        TypeError: `layer` is of another class.
        ValueError: `p` is not a rate.

    >>> import torch
    >>> bare = nn.Linear(3, 2)
    >>> wrapped = Wrapped(bare, 0.5)
    >>> list(wrapped.state_dict()), wrapped.in_features, wrapped.weight is bare.weight
    (['weight', 'bias'], 3, True)
    >>> wrapped.load_state_dict(nn.Linear(3, 2).state_dict())
    <All keys matched successfully>
    """

    layers: tuple[type[nn.Module], ...] = (nn.Module,)
    layer: Any

    def __init__(self, layer: nn.Module, p: float | None = 0.5) -> None:
        super().__init__(p)
        check_layer(type(self).__name__, layer, self.layers)
        self.layer = layer
        self.register_state_dict_post_hook(_plain_keys)
        self.register_load_state_dict_pre_hook(_inner_keys)

    def bare_in_eval(self) -> bool:
        """Whether eval runs the layer alone, so that `thinnet.strip` can replace the wrapper by its layer."""
        return False

    def __getattr__(self, name: str) -> Any:
        """Returns an attribute of the layer if the wrapper has none of that name."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            layer = self.__dict__.get("_modules", {}).get("layer")  # none yet while it is made or unpickled
            if layer is None:
                raise
            return getattr(layer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets a parameter or buffer of the layer in the layer, unless the wrapper has that name."""
        layer = self.__dict__.get("_modules", {}).get("layer")
        inner = layer is not None and (name in layer._parameters or name in layer._buffers)
        if inner and not (name in self.__dict__ or name in self._buffers or hasattr(type(self), name)):
            setattr(layer, name, value)
        else:
            super().__setattr__(name, value)


def _plain_keys(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, metadata: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + INNER)]:
        state[prefix + key.removeprefix(prefix + INNER)] = state.pop(key)


def _inner_keys(module: nn.Module, state: MutableMapping[str, Tensor], prefix: str, *rest: Any) -> None:
    own = {*module._parameters, *module._buffers, *module._modules} - {INNER[:-1]} - module._non_persistent_buffers_set
    for key in [key for key in state if key.startswith(prefix)]:
        name = key.removeprefix(prefix)
        if name.split(".")[0] not in own:
            state[prefix + INNER + name] = state.pop(key)
