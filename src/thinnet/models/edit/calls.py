"""Dropout that a forward method calls as a function, served by sites that have a name, a rate and a mode.

A module that makes such calls gets a `forward` of its own, an attribute of the instance, which runs the one of its class under
a mode of PyTorch's: while it is on, each function of PyTorch that is called passes by `__torch_function__` first. Call number k
to a dropout function in the forward pass of that module goes to the site "dropout_calls.k" of it; all others go on as they are.
The mode is a `with` block around the forward method: it is left also when that fails, and each thread and each nested module
has its own. Calls of a child module are the child's, by the frames of Python; compiled code has no frames, and there a child
that calls a function has to have been seen in the example.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thinnet.methods.attention.attention import logits, softmax
from thinnet.methods.attention.attention_dropout import AttentionDropout
from thinnet.methods.elementwise.alpha_dropout import AlphaDropout, FeatureAlphaDropout
from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.spatial.spatial_dropout import Dropout1d, Dropout2d, Dropout3d
from thinnet.models.edit.forward import Forward
from thinnet.rng import Site
from thinnet.rng.context import capturing

CALLS = "dropout_calls"
ATTENTION = F.scaled_dot_product_attention
INPUT = ("input", "p", "training", "inplace")
QUERY = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
SITES: dict[Callable[..., Any], type[Site]] = {
    F.dropout: Dropout,
    torch.dropout: Dropout,
    torch.dropout_: Dropout,
    F.dropout1d: Dropout1d,
    F.dropout2d: Dropout2d,
    F.dropout3d: Dropout3d,
    F.alpha_dropout: AlphaDropout,
    torch.alpha_dropout: AlphaDropout,
    F.feature_alpha_dropout: FeatureAlphaDropout,
    torch.feature_alpha_dropout: FeatureAlphaDropout,
    ATTENTION: AttentionDropout,
}
OFF = {F.alpha_dropout, F.feature_alpha_dropout}  # their default is training=False


@dataclass(frozen=True)
class Call:
    """A call to a dropout function, as it was made.

    Args:
        function: of PyTorch.
        given: its arguments by name.
    """

    function: Callable[..., Any]
    given: Any

    @property
    def p(self) -> float:
        """The rate at which it tosses; 0 where it is told not to."""
        if self.function is ATTENTION:
            return self.given.get("dropout_p", 0.0)
        return self.given.get("p", 0.5) if self.given.get("training", self.function not in OFF) else 0.0

    @property
    def name(self) -> str:
        """Its function, in a word."""
        return self.function.__name__

    def site(self) -> Site:
        """Returns a site that does the same."""
        inplace = self.function is torch.dropout_ or bool(self.given.get("inplace", False))
        kind = SITES[self.function]
        return kind(self.p) if kind is AttentionDropout else kind(self.p, inplace=inplace)  # type: ignore[call-arg]

    def served(self, site: Site) -> Tensor:
        """Returns the result of the call with the coins, the rate and the mode of a site."""
        if self.function is not ATTENTION:
            return site(self.given["input"])
        q, k, v, mask = (self.given.get(name) for name in QUERY[:4])
        kept = torch.compiler.is_compiling() or capturing(q.device)  # what is kept may not hang on the rate of now
        if not site.training or (site.p == 0 and not kept):
            return ATTENTION(**self.given | {"dropout_p": 0.0})
        if self.given.get("enable_gqa", False):
            k, v = (each.repeat_interleave(q.shape[-3] // each.shape[-3], -3) for each in (k, v))
        z = logits(q, k, mask, self.given.get("is_causal", False), self.given.get("scale"))
        return site(softmax(z, masked=mask is not None)) @ v


def call_of(function: Callable[..., Any], args: Any, kwargs: Any) -> Call:
    """Returns a call by the names of its arguments."""
    names = QUERY if function is ATTENTION else INPUT if function.__module__ == F.__name__ else ("input", "p", "training")
    given = dict(zip(names, args, strict=False)) | kwargs
    return Call(function, {"p" if name == "train" else name: value for name, value in given.items()})


def innermost() -> Any:
    """Returns the frame in which the module that runs now is called, and the module; None outside of modules."""
    frame = sys._getframe(1)
    called, served = nn.Module._call_impl.__code__, Serving.__call__.__code__
    while frame is not None and frame.f_code not in (called, served):
        frame = frame.f_back
    if frame is None:
        return None, None
    caller = frame.f_locals["self"]
    return frame, caller.module if frame.f_code is served else caller


class Watched(TorchFunctionMode):
    """Notes the calls to dropout functions, by module and by call of the module."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[int, tuple[nn.Module, list[Call]]] = {}
        self._frames: list[Any] = []  # so that no other frame gets the number of one

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function, and notes it if it may drop."""
        frame, module = innermost() if func in SITES else (None, None)
        if module is not None:
            self._frames.append(frame)
            self.calls.setdefault(id(frame), (module, []))[1].append(call_of(func, args, kwargs or {}))
        return _inside(self, func, args, kwargs)


class Served(TorchFunctionMode):
    """Serves the calls of one forward pass of one module by its sites."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.number = module, -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Serves the function by the site of its number, or runs it."""
        if func in SITES and (torch.compiler.is_compiling() or innermost()[1] is self.module):
            self.number += 1
            sites: Any = self.module._modules[CALLS]
            site = sites._modules.get(str(self.number))
            if site is not None:
                call = call_of(func, args, kwargs or {})
                _check(site, call, self.module, self.number)
                return call.served(site)
        return _inside(self, func, args, kwargs)


def _inside(mode: TorchFunctionMode, func: Any, args: Any, kwargs: Any) -> Any:
    if func is not F.multi_head_attention_forward:
        return func(*args, **kwargs or {})
    with mode:
        return _ATTENTION_BODY(*args, **kwargs or {})


def _without_door(function: Any) -> Any:
    """Returns a function of PyTorch's that is written in Python, and drops within, without the door that hands it to a mode."""
    body = FunctionType(function.__code__, {**F.__dict__, "has_torch_function": lambda _: False}, function.__name__)
    body.__defaults__, body.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    return body


_ATTENTION_BODY = _without_door(F.multi_head_attention_forward)


def _check(site: Site, call: Call, module: nn.Module, number: int) -> None:
    if not isinstance(site, (SITES[call.function], BatchwiseDropout)):
        rule = f"{type(module).__name__}: call {number} to a dropout function must be that of the example"
        raise ValueError(f"{rule}, for {type(site).__name__}; got {call.name}. Replace anew, with an example of this path.")


class Serving(Forward):
    """Takes the place of a module's `forward`: runs what was there before, with dropout functions served by sites."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the forward method."""
        with Served(self.module):
            return self.method(*args, **kwargs)
