"""Propagates moments through a forward method that is a chain of layers and functions, traced by `torch.fx`."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.moments import moments, propagate
from thinnet.methods.moments.moments import Moments
from thinnet.models.edit.equivalents import FUNCTIONS, call_of
from thinnet.rng import Site

Rules = Mapping[type[nn.Module], Any]
NAMED: dict[str, Callable[..., Moments]] = {
    "relu": lambda m, *_, **__: moments.relu(m),
    "sigmoid": lambda m, *_, **__: moments.sigmoid(m),
    "softmax": lambda m, dim=-1, *_, **__: moments.softmax(m, dim),
}
SMOOTH = {"tanh": torch.tanh, "gelu": F.gelu, "silu": F.silu, "softplus": F.softplus}
MOVES = {"flatten", "view", "reshape", "unflatten", "squeeze", "unsqueeze", "transpose", "permute", "contiguous"}
SHIFTS = {operator.add, operator.sub, torch.add, torch.sub}
SCALES = {operator.mul, operator.truediv, torch.mul, torch.div}
COMMUTE = {operator.add, operator.mul, torch.add, torch.mul}


class Leaves(fx.Tracer):
    """Traces sites, and modules with a rule, as one node.

    This is not a `models.trace`: the graph is evaluated again with moments in place of tensors, which needs the arguments of
    each node as symbols.
    """

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self.rules = {**propagate.RULES, **rules}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Returns whether a module is one node."""
        return isinstance(m, (Site, *self.rules)) or super().is_leaf_module(m, module_qualified_name)


def through(model: nn.Module, m: Moments, rules: Rules | None = None) -> Moments:
    """Returns the moments of the output of a model.

    Raises: TypeError if a part has no rule or the forward method is not a chain. The message names the part.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    >>> through(model, Moments.of(torch.zeros(1, 2))).mean.shape
    torch.Size([1, 2])
    """
    tracer = Leaves(rules or {})
    if isinstance(model, (Site, nn.Sequential, *tracer.rules)):
        return _part(model, m, rules, "model")
    try:
        graph = tracer.trace(model.train())  # a forward method may check the mode before it drops
    except Exception as error:
        rule = f"moments: model must be a chain of layers; {type(model).__name__} cannot be traced ({error})"
        raise TypeError(f"{rule}. Call sample(model, x).") from error
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = m if not values else _refused(node, "a second input")
        elif node.op == "output":
            return values[node.args[0]] if isinstance(node.args[0], fx.Node) else _refused(node, "several outputs")
        else:
            values[node] = _step(model, node, values, rules)
    raise AssertionError("a graph ends with its output")


def _step(model: nn.Module, node: fx.Node, values: Mapping[fx.Node, Any], rules: Rules | None) -> Any:
    if node.op == "get_attr":
        found: Any = model
        for name in str(node.target).split("."):
            found = getattr(found, name)
        return found
    args: Any = fx.map_arg(node.args, lambda other: values[other])
    kwargs: Any = fx.map_arg(node.kwargs, lambda other: values[other])
    if node.op == "call_module":
        return _part(model.get_submodule(str(node.target)), args[0], rules, str(node.target))
    method = node.op == "call_method"
    return _function(node, getattr(torch.Tensor, str(node.target)) if method else node.target, args, kwargs)


def _function(node: fx.Node, target: Any, args: Any, kwargs: Any) -> Any:
    """Returns the moments of the result of a function."""
    name = getattr(target, "__name__", str(target))
    uncertain = [each for each in (*args, *kwargs.values()) if isinstance(each, Moments)]
    if not uncertain:
        return target(*args, **kwargs)
    if len(uncertain) > 1:
        _refused(node, f"{name}, whose arguments are not independent")
    if target in COMMUTE and args[0] is not uncertain[0]:
        args = args[::-1]
    m, rest = args[0], args[1:]
    if m is not uncertain[0]:
        _refused(node, f"{name}, which has no rule")
    if FUNCTIONS.get(target) is Dropout:
        return moments.dropout(m, call_of(target, args, kwargs).given.get("p", 0.5))
    if target in SHIFTS and not kwargs:
        mean = target(m.mean, rest[0])
        return Moments(mean, m.variance.expand_as(mean))
    if target in SCALES and not kwargs:
        once = target(torch.ones_like(m.mean), rest[0])
        return Moments(m.mean * once, m.variance * once.square())
    if name in MOVES:
        return m.map(lambda tensor: target(tensor, *rest, **kwargs))
    if name in NAMED:
        return NAMED[name](m, *rest, **{key: value for key, value in kwargs.items() if key == "dim"})
    if name in SMOOTH and not rest:
        return moments.smooth(m, lambda tensor: SMOOTH[name](tensor, **kwargs))
    return _refused(node, f"{name}, which has no rule")


def _part(module: nn.Module, m: Any, rules: Rules | None, path: str) -> Moments:
    try:
        return propagate.propagate(module, m, rules=rules)
    except TypeError as error:
        raise TypeError(str(error).replace("propagate: model", f"moments: {path}") + " Or call sample(model, x).") from None


def _refused(node: fx.Node, what: str) -> Any:
    rule = f"moments: model must be a chain of layers; {node.name!r} is {what}"
    raise TypeError(f"{rule}. Move it to a module and pass rules={{ItsClass: your_rule}}, or call sample(model, x).")
