"""What reads the units that a site dropped: layers whose weights can take the keep probability, or something else.

The model runs once, in eval, under a mode of PyTorch's that sees each function. What a site returns is followed through
functions f with f(q x) = q f(x), as ReLU, pooling and reshaping are, up to the layers of weights that take it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from thinnet.inference.copies import norms_pinned
from thinnet.models.edit.calls import CALLS, serving_changes
from thinnet.models.edit.equivalents import MODULES, same_forward
from thinnet.models.edit.order import call_with
from thinnet.models.edit.rates import is_dropout, owners
from thinnet.models.rewrite.edits import Entry, Write
from thinnet.models.rewrite.modules import BEFORE, BEHIND, Place, places
from thinnet.models.trace import trace
from thinnet.models.trace.reads import follow
from thinnet.models.trace.record import Node, Value
from thinnet.nn import DropPath, LockedDropout, TokenDropout
from thinnet.rng import Site, rates

LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d
MASKS = (
    *(kind for kind in MODULES if "Alpha" not in kind.__name__),
    *(kind for kind in MODULES.values() if "Alpha" not in kind.__name__),
)
KINDS = (*MASKS, DropPath, TokenDropout, LockedDropout)
MOVES = {"reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "permute", "contiguous", "clone"}
MOVES |= {"chunk", "split", "unbind", "__getitem__", "expand", "repeat", "to", "float", "double", "type", "detach"}
POOLS = {f"{kind}_pool{axes}d" for kind in ("max", "avg", "adaptive_max", "adaptive_avg") for axes in (1, 2, 3)}
HOMOGENEOUS = {"relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "dropout", "dropout_", "mean", "sum"} | MOVES | POOLS
HOMOGENEOUS |= {"dropout1d", "dropout2d", "dropout3d", "feature_dropout"}  # in eval


class Scale(nn.Module):
    """Multiplies by the keep probability: what stays where no layer of weights can take it.

    Args:
        q: the keep probability.

    >>> Scale(0.5)(torch.ones(2))
    tensor([0.5000, 0.5000])
    """

    def __init__(self, q: float) -> None:
        super().__init__()
        self.q = q

    def forward(self, x: Tensor) -> Tensor:
        """Returns q x."""
        return x * self.q

    def extra_repr(self) -> str:
        """Returns q."""
        return f"q={self.q:g}"


@dataclass(frozen=True)
class Reads:
    """What reads the outputs of sites.

    Args:
        layers: by layer of weights, for each of its calls the sites whose outputs it reads.
        others: by site, the names of the functions that read its output and do not commute with a factor.
        elsewhere: the modules whose parameters another module reads.
    """

    layers: dict[nn.Module, list[frozenset[nn.Module]]]
    others: dict[nn.Module, set[str]]
    elsewhere: set[nn.Module]


def reads_of(model: nn.Module, call: Callable[[], Any], sites: Collection[nn.Module]) -> Reads:
    """Returns what reads the outputs of sites, from one pass of a model."""
    record = trace(model, call, level="functions", whole=lambda module: module in sites, distinct=True)
    modules = dict(model.named_modules())
    owners = weight_owners(model)
    found = Reads({}, {}, set())

    def step(node: Node, marks: dict[Value, frozenset[nn.Module]]) -> frozenset[nn.Module] | None:
        read, module = frozenset[nn.Module]().union(*marks.values()), modules.get(node.inside)
        for value in node.inputs:
            found.elsewhere.update(owner for owner in owners.get(id(value.tensor), ()) if owner is not module)
        if node.module is not None:
            return read | {node.module}
        weight: Any = getattr(module, "weight", None) if type(module) in LAYERS else None
        if weight is not None and any(value.tensor is weight for value in node.inputs[1:]):
            found.layers.setdefault(module, []).append(read)  # type: ignore[arg-type]
        elif node.name in HOMOGENEOUS:
            return read or None
        else:
            refuse(read, node.name)
        return None

    def refuse(read: frozenset[nn.Module], name: str) -> None:
        for site in read:
            found.others.setdefault(site, set()).add(name)

    for value, read in follow(record.nodes, {}, step).items():
        if value.returned:
            refuse(read, "the output")
    return found


def weight_owners(model: nn.Module) -> dict[int, list[nn.Module]]:
    """Returns, by the id of a parameter, the modules that hold it."""
    owners: dict[int, list[nn.Module]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(module)
    return owners


def scale_readers(model: nn.Module, example: Any) -> None:
    """Scales, in a model that may be changed, the weights of what reads each site by q; what cannot take it gets `Scale(q)`.

    Raises: ValueError where dropout is inside of a module or a function, is no mask, or is not reached by the example.
    """
    found = _sites(model, example)
    with torch.no_grad():
        reads = reads_of(model.eval(), lambda: call_with(model, example), found)
    folded, reached = _folded(model, reads, set(found))
    for site, path in found.items():
        if site not in reached:
            raise ValueError(f"weight_scaled: the example must reach all sites; {path or 'the model'!r} was not. Give another.")
    for layer, sites in reads.layers.items():
        for site in sites[0] & folded:
            with torch.no_grad():
                layer.weight.mul_(_keep(site))  # type: ignore[operator]
    held = places(model)
    for site, path in found.items():
        if site in folded:
            site.p = 0.0  # type: ignore[assignment]
        else:
            _put(held[site], Scale(_keep(site)), sorted(reads.others.get(site, {"a layer that others use"})), path)


def _sites(model: nn.Module, example: Any) -> dict[nn.Module, str]:
    """Returns the sites with their paths, and refuses dropout of other kinds."""
    inside = [owner.name for owner in owners(model) if owner.p > 0 and not is_dropout(owner.module) and not owner.idle]
    inside = inside or _called(model, example)
    if inside:
        rule = f"weight_scaled: dropout must be modules for classic=True; {inside[0]!r} is inside of a module or a function"
        raise ValueError(f"{rule}. Call a dropout module in its place.")
    found: dict[nn.Module, str] = {}
    for path, module in model.named_modules():
        if isinstance(module, (Site, _DropoutNd)) and module.p != 0:
            if module.p is None or not any(same_forward(module, kind) for kind in KINDS):
                kind = type(module).__name__
                raise ValueError(
                    f"weight_scaled: sites must multiply by a mask for classic=True; {path!r} is {kind}. Leave it."
                )
            found[module] = path
    return found


def _called(model: nn.Module, example: Any) -> list[str]:
    """Returns where forward methods call dropout functions; PyTorch's modules do that too, and are no such place."""
    with norms_pinned(model):
        changes, _ = serving_changes(model, example)
    owner = {change.place: change.place.partition(CALLS)[0].removesuffix(".") for change in changes}
    return [place for place, path in owner.items() if not isinstance(model.get_submodule(path), _DropoutNd)]


def _folded(model: nn.Module, reads: Reads, found: set[nn.Module]) -> tuple[set[nn.Module], set[nn.Module]]:
    """Returns the sites whose q is multiplied into weights, and all sites that were reached."""
    owners = weight_owners(model)
    folded = found - set(reads.others)
    reached = set(reads.others)
    for layer, calls in reads.layers.items():
        sites = frozenset().union(*calls)
        reached |= sites
        weight = layer._parameters.get("weight")
        owned = weight is not None and len(owners[id(weight)]) == 1 and layer not in reads.elsewhere
        if not owned or len(set(calls)) > 1:
            folded -= sites
    return folded & reached, reached


def _keep(site: Any) -> float:
    return 1 - (rates.count(site.p or 0.0) / rates.RESOLUTION if isinstance(site, Site) else site.p)


def _put(held: list[Place], scale: Scale, reads: list[str], path: str) -> None:
    for parent, name, _ in held:
        if name in (BEHIND, BEFORE) or type(parent).__module__.startswith("thinnet."):
            rule = f"weight_scaled: what reads {path!r} must be layers of weights, as it is held by another module"
            raise ValueError(f"{rule}; got {', '.join(reads)}. Make it a module of the model.")
        Write(Entry(parent, "_modules", name), scale).apply()
