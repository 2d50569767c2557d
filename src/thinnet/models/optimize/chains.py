"""Finds the chains of a model around its dropout, in one pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.models.edit.checks import matches
from thinnet.models.edit.equivalents import same_forward
from thinnet.models.state import preserve_state
from thinnet.models.trace import trace
from thinnet.models.trace.observe import Trace
from thinnet.models.trace.record import Node, Value
from thinnet.rng import Site

ACTIVATIONS, ADDS, PRODUCTS = ("relu", "relu_", "gelu", "silu"), ("add", "__add__", "__radd__"), ("mul", "__mul__", "__rmul__")
NORMS = ("layer_norm", "rms_norm")
PRODUCERS = (nn.Linear, nn.Embedding, _ConvNd)


@dataclass(frozen=True)
class Start:
    """Where a chain begins: the path of a module that hands over its output, or, with `inside`, its input."""

    place: str
    inside: bool


@dataclass(frozen=True)
class Found:
    """A chain around a site.

    Args:
        site: its path.
        start: of what is computed before; None where the chain starts with the dropout.
        steps: the functions, in order.
    """

    site: str
    start: Start | None
    steps: tuple[str, ...]

    @property
    def adds(self) -> bool:
        """Whether a residual is added to the dropout."""
        return "add" in self.steps[self.steps.index("dropout") :]

    @property
    def norm(self) -> bool:
        """Whether the sum is normalised."""
        return self.steps[-1] in NORMS


class Obstacle(Exception):
    """Why a site has no chain, in a few words."""


def is_site(module: nn.Module) -> bool:
    """Returns whether a module is plain dropout of elements, of PyTorch or of thinnet."""
    if type(module) is Dropout:
        return not module.structured and "forward" not in vars(module)
    return not isinstance(module, Site) and same_forward(module, nn.Dropout)


def chains(model: nn.Module, call: Callable[[], Any], leave: Sequence[str], seed: int) -> tuple[list[Found], dict[str, str]]:
    """Returns the chains of a model, and for its other sites the reasons why they have none."""
    sites = {module: name for name, module in model.named_modules() if is_site(module)}
    with preserve_state(model, seed):
        model.train()
        record = trace(model, call, level="functions", whole=lambda module: module in sites or isinstance(module, PRODUCERS))
    found: dict[str, Found] = {}
    reasons: dict[str, str] = {}
    starts: dict[str, str] = {}
    for node in record.nodes:
        if node.module not in sites or node.name in reasons:
            continue
        try:
            if any(matches(node.name, pattern) for pattern in leave):
                raise Obstacle("excluded by leave=")
            chain = _chain(record, node)
            if chain.start is not None and starts.setdefault(chain.start.place, node.name) != node.name:
                raise Obstacle(f"{chain.start.place} starts another chain")
            if found.setdefault(node.name, chain) != chain:
                raise Obstacle("it runs several times, in different chains")
        except Obstacle as obstacle:
            reasons[node.name] = str(obstacle)
    reached = {node.name for node in record.nodes if node.module in sites}
    reasons |= {name: "the example does not reach it" for name in sites.values() if name not in reached}
    return [chain for name, chain in found.items() if name not in reasons], reasons


def _chain(record: Trace, site: Node) -> Found:
    if len(site.inputs) != 1 or len(site.outputs) != 1:
        raise Obstacle("it is not called with one tensor")
    start, before = _before(record, site, site.inputs[0])
    behind = _behind(site.outputs[0])
    if not before and not behind:
        maker, readers = site.inputs[0].made, site.outputs[0].uses
        read = f"{readers[0]} reads its output" if readers else "nothing reads its output"
        raise Obstacle(f"{maker or 'the caller of the model'} makes its input, and {read}")
    return Found(site.name, start, (*before, "dropout", *behind))


def _before(record: Trace, site: Node, value: Value) -> tuple[Start | None, tuple[str, ...]]:
    """Returns where the chain starts before a site, and the functions between."""
    made = value.made
    if made is None or made.module is not None or not _only(value, site):
        return None, ()
    if made.name in ACTIVATIONS:
        return _started(record, made, (made.name.rstrip("_"),))
    if made.name in PRODUCTS:
        silu = next((each.made for each in made.inputs if each.made is not None and each.made.name == "silu"), None)
        if silu is not None and silu.module is None and _only(silu.outputs[0], made) and _alike(made):
            return _started(record, silu, ("silu", "mul"))
    if made.name in ADDS and len(made.inputs) == 2:
        for each in made.inputs:
            if each.made is not None and _plain_embedding(each.made.module) and _only(each, made):
                return Start(each.made.name, inside=False), ("embedding", "add")
    return None, ()


def _started(record: Trace, activation: Node, steps: tuple[str, ...]) -> tuple[Start | None, tuple[str, ...]]:
    """Returns the module that hands over what an activation reads."""
    value = activation.inputs[0]
    if not _only(value, activation):
        return None, ()
    if value.made is not None and value.made.module is not None:
        return Start(value.made.name, inside=False), steps
    at = record.nodes.index(activation)
    around = [call for call in record.calls if call.entry is value and call.start <= at < call.end]
    return (Start(around[-1].name, inside=True), steps) if around else (None, ())


def _behind(value: Value) -> tuple[str, ...]:
    """Returns the functions behind a site that join it."""
    node = value.uses[0] if len(value.uses) == 1 and not value.returned else None
    if node is None or node.name not in ADDS or node.module is not None or not _alike(node):
        return ()
    total = node.outputs[0]
    first = total.uses[0] if total.uses and not total.returned else None
    if first is not None and first.name in NORMS and first.inputs[0] is total:
        return "add", first.name
    return ("add",)


def _alike(node: Node) -> bool:
    """Whether a function reads two tensors of the shape and dtype of its result."""
    tensors = [each.tensor for each in (*node.inputs, *node.outputs)]
    return len(node.inputs) == 2 and len({(each.shape, each.dtype) for each in tensors}) == 1


def _only(value: Value, reader: Node) -> bool:
    return not value.returned and all(use is reader for use in value.uses)


def _plain_embedding(module: nn.Module | None) -> bool:
    if not isinstance(module, nn.Embedding) or type(module).forward is not nn.Embedding.forward:
        return False
    settings = module.padding_idx is None and module.max_norm is None
    return settings and not module.scale_grad_by_freq and not module.sparse
