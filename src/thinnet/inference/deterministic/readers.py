"""What reads the units that a site dropped: layers whose weights can take the keep probability, or something else.

The model runs once, in eval, under a mode of PyTorch's that sees each function. What a site returns is followed through
functions f with f(q x) = q f(x), as ReLU, pooling and reshaping are, up to the layers of weights that take it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from thinnet.inference.deterministic.copying import norms_pinned
from thinnet.models.edit.calls import CALLS, served_calls
from thinnet.models.edit.equivalents import MODULES, same_forward
from thinnet.models.edit.order import call_with
from thinnet.models.edit.rates import is_dropout, owners
from thinnet.models.rewrite.functions import running_module
from thinnet.models.rewrite.modules import BEFORE, BEHIND, Place, places
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


class Followed(TorchFunctionMode):
    """Follows what sites return to what reads it: `reads` of layers, and `others`, the names of functions, of sites."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.reads: dict[nn.Module, list[frozenset[nn.Module]]] = {}
        self.others: dict[nn.Module, set[str]] = {}
        self.elsewhere: set[nn.Module] = set()
        self._weights: dict[int, list[nn.Module]] = {}
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                self._weights.setdefault(id(parameter), []).append(module)
        self._from: dict[int, frozenset[nn.Module]] = {}
        self._alive: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the function and notes what it read."""
        out = func(*args, **kwargs or {})
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        read = frozenset().union(*(self._from.get(id(leaf), frozenset()) for leaf in inputs))
        module: Any = running_module()[1] if read or any(id(leaf) in self._weights for leaf in inputs) else None
        for leaf in inputs:
            self.elsewhere |= {owner for owner in self._weights.get(id(leaf), ()) if owner is not module}
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if outputs and type(module) in LAYERS and any(leaf is module.weight for leaf in inputs[1:]):
            self.reads.setdefault(module, []).append(read)
        elif read and outputs and func.__name__ in HOMOGENEOUS:
            self.mark(outputs, read)
        elif read and outputs:
            self.refuse(read, func.__name__)
        return out

    def mark(self, outputs: list[Tensor], read: frozenset[nn.Module]) -> None:
        """Notes that tensors come from sites."""
        self._alive += outputs
        self._from |= {id(leaf): read for leaf in outputs}

    def refuse(self, read: frozenset[nn.Module], name: str) -> None:
        """Notes that something that is no layer of weights read what sites returned."""
        for site in read:
            self.others.setdefault(site, set()).add(name)

    def behind(self, site: nn.Module, args: Any, output: Tensor) -> Tensor:
        """A forward hook of a site: gives its output an identity of its own."""
        own = output.clone()
        self.mark([own], self._from.get(id(own), self._from.get(id(output), frozenset())) | {site})
        return own

    def ended(self, out: Any) -> None:
        """Notes what the model returns."""
        for leaf in tree_leaves(out):
            self.refuse(self._from.get(id(leaf), frozenset()), "the output")


def scale_readers(model: nn.Module, example: Any) -> None:
    """Scales, in a model that may be changed, the weights of what reads each site by q; what cannot take it gets `Scale(q)`.

    Raises: ValueError where dropout is inside of a module or a function, is no mask, or is not reached by the example.
    """
    found = _sites(model, example)
    watch = Followed(model)
    handles = [site.register_forward_hook(watch.behind) for site in found]
    try:
        with torch.no_grad(), watch:
            watch.ended(call_with(model.eval(), example))
    finally:
        for handle in handles:
            handle.remove()
    folded, reached = _folded(watch, set(found))
    for site, path in found.items():
        if site not in reached:
            raise ValueError(f"weight_scaled: the example must reach all sites; {path or 'the model'!r} was not. Give another.")
    for layer, reads in watch.reads.items():
        for site in reads[0] & folded:
            with torch.no_grad():
                layer.weight.mul_(_keep(site))  # type: ignore[operator]
    held = places(model)
    for site, path in found.items():
        if site in folded:
            site.p = 0.0  # type: ignore[assignment]
        else:
            _put(held[site], Scale(_keep(site)), sorted(watch.others.get(site, {"a layer that others use"})), path)


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
            if not any(same_forward(module, kind) for kind in KINDS):
                kind = type(module).__name__
                raise ValueError(
                    f"weight_scaled: sites must multiply by a mask for classic=True; {path!r} is {kind}. Leave it."
                )
            found[module] = path
    return found


def _called(model: nn.Module, example: Any) -> list[str]:
    """Returns where forward methods call dropout functions; PyTorch's modules do that too, and are no such place."""
    with norms_pinned(model):
        changes, _ = served_calls(model, example)
    owner = {change.place: change.place.partition(CALLS)[0].removesuffix(".") for change in changes}
    return [place for place, path in owner.items() if not isinstance(model.get_submodule(path), _DropoutNd)]


def _folded(watch: Followed, found: set[nn.Module]) -> tuple[set[nn.Module], set[nn.Module]]:
    """Returns the sites whose q goes into weights, and all that were reached."""
    folded = found - set(watch.others)
    reached = set(watch.others)
    for layer, reads in watch.reads.items():
        sites = frozenset().union(*reads)
        reached |= sites
        weight = layer._parameters.get("weight")
        owned = weight is not None and len(watch._weights[id(weight)]) == 1 and layer not in watch.elsewhere
        if not owned or len(set(reads)) > 1:
            folded -= sites
    return folded & reached, reached


def _keep(site: Any) -> float:
    return 1 - (rates.count(site.p or 0.0) / rates.RESOLUTION if isinstance(site, Site) else site.p)


def _put(held: list[Place], scale: Scale, reads: list[str], path: str) -> None:
    for parent, name, _ in held:
        if name in (BEHIND, BEFORE) or type(parent).__module__.startswith("thinnet."):
            rule = f"weight_scaled: what reads {path!r} must be layers of weights, as it is held by another module"
            raise ValueError(f"{rule}; got {', '.join(reads)}. Make it a module of the model.")
        parent._modules[name] = scale
