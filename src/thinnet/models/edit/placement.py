"""Where the method catalogue advises dropout, by architecture."""

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from thinnet.methods.elementwise.alpha_dropout import AlphaDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.recurrent.locked_dropout import LockedDropout
from thinnet.methods.spatial.spatial_dropout import Dropout1d, Dropout2d, Dropout3d
from thinnet.models import declared
from thinnet.models.edit.order import Ended, Order, order_of
from thinnet.models.edit.rates import Owner, is_dropout, owners, rate_change
from thinnet.models.rewrite.edits import Change
from thinnet.models.rewrite.modules import BEFORE, BEHIND, insert_change

HIDDEN, SELU, HEAD, CHANNELS, TRANSFORMER = 0.5, 0.1, 0.2, 0.1, 0.1
WORDS, BETWEEN, LAST = 0.4, 0.25, 0.4
ACTIVATIONS = tuple(getattr(nn, name) for name in nn.modules.activation.__all__ if not name.endswith("Attention"))
NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, nn.modules.instancenorm._InstanceNorm, nn.RMSNorm)
POOLS = {getattr(nn, f"{kind}Pool{d}d"): d for d in (1, 2, 3) for kind in ("Max", "Avg", "AdaptiveMax", "AdaptiveAvg")}
CONVOLUTIONS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
BY_CHANNEL = {1: Dropout1d, 2: Dropout2d, 3: Dropout3d}


class Plan:
    """The planned changes of a model, by place, and notes."""

    def __init__(self, model: nn.Module, order: Order) -> None:
        self.model, self.ran, self.leaves, self.output = model, order.ran, order.leaves(), order.output()
        self.owners = {owner.path: owner for owner in owners(model)}
        self.changes: dict[tuple[str, str], Change] = {}
        self.notes: list[str] = []

    def put(self, path: str, site: nn.Module, reason: str, where: str = BEHIND) -> None:
        """Plans a site, unless the place makes the output or has one."""
        taken = where in self.model.get_submodule(path)._modules
        if not taken and (path not in self.output or where == BEFORE):
            self.changes.setdefault((path, where), insert_change(self.model, path, site, reason, where))  # type: ignore[arg-type]

    def rate(self, owner: Owner, p: float, reason: str) -> None:
        """Plans a new rate for an owner whose rate is zero."""
        if owner.p == 0 and not owner.idle:
            self.changes.setdefault((owner.name, owner.attribute), rate_change(owner, p, reason))

    def dropout(self, between: Ended, p: float, reason: str) -> bool:
        """Returns whether some of the modules are dropout, and plans a rate for those whose rate is zero."""
        here = [self.owners[path] for path, _ in between if path in self.owners and path not in self.output]
        found = [owner for owner in here if is_dropout(owner.module)]
        for owner in found:
            self.rate(owner, p, f"{reason}; already present")
        return bool(found)


def placement(model: nn.Module, order: Order) -> tuple[list[Change], list[str]]:
    """Returns the changes that the catalogue advises for a model, and notes. Raises a ValueError where it advises none."""
    plan = Plan(model, order)
    modules = list(model.modules())
    if any("attention" in type(module).__name__.lower() for module in modules):
        plan.notes.append("a transformer: sets the existing rates that are zero")
        _transformer(plan)
    elif any(isinstance(module, nn.RNNBase) for module in modules):
        plan.notes.append("a recurrent network: one mask for all time steps")
        _recurrent(plan)
    elif any(isinstance(module, _ConvNd) for module in modules):
        plan.notes.append("a convolutional network")
        _convolutional(plan)
    else:
        plan.notes.append("a fully connected network")
        _connected(plan, plan.leaves)
    if not plan.changes:
        defined = order_of(model)  # a fused path runs no module of an encoder layer
        there = ", ".join(name for name, module in defined.ended if declared.rate(module)) or "none"
        kinds = ", ".join(sorted({type(module).__name__ for _, module in defined.leaves()})) or "none"
        rule = 'insert: policy "auto" must find a place; it found none'
        step = "Name places: {pattern: rate}" + (", or give an example=." if not order.ran else ".")
        raise ValueError(f"{rule} among {kinds}, with dropout at: {there}. {step}")
    return list(plan.changes.values()), plan.notes


def _connected(plan: Plan, leaves: Ended) -> None:
    """Plans sites behind hidden activations; with batch normalisation only before the head."""
    linear = [index for index, (_, module) in enumerate(leaves) if isinstance(module, nn.Linear)]
    if any(isinstance(module, _BatchNorm) for _, module in leaves):
        return _head(
            plan, leaves, "only before the head: dropout would change the variance that batch normalisation sees in training"
        )
    for start, end in pairwise(linear):
        between = leaves[start + 1 : end]
        if _before_one_output(plan, plan.leaves.index(leaves[start])):
            continue
        if not plan.dropout(between, HIDDEN, "hidden activation"):
            _behind_activation(plan, leaves[start][0], between)


def _behind_activation(plan: Plan, layer: str, between: Ended) -> None:
    active = [(path, module) for path, module in between if isinstance(module, ACTIVATIONS) and path not in plan.output]
    if not active:
        reason = "before its activation, which is a function; for ReLU the order does not matter"
        return plan.put(layer, Dropout(HIDDEN), reason)
    path, module = active[-1]
    if isinstance(module, nn.SELU):
        return plan.put(path, AlphaDropout(SELU), "hidden activation; keeps mean and variance of SELU")
    plan.put(path, Dropout(HIDDEN), "hidden activation")


def _before_one_output(plan: Plan, index: int) -> bool:
    """Returns whether the next layer is a head with one output, and notes it."""
    for path, module in plan.leaves[index + 1 :]:
        if isinstance(module, (nn.Linear, _ConvNd, nn.RNNBase)):
            if path in plan.output and getattr(module, "out_features", 0) == 1:
                plan.notes.append(f"nothing before {path}: a head with one output would learn from a noisy scale")
                return True
            return False
    return False


def _head(plan: Plan, leaves: Ended, reason: str) -> None:
    """Plans a site before the last layer, if it is linear."""
    heads = [index for index, (path, module) in enumerate(leaves) if path in plan.output and isinstance(module, nn.Linear)]
    if not heads or _before_one_output(plan, plan.leaves.index(leaves[heads[0]]) - 1):
        return
    before = leaves[max(0, heads[0] - 2) : heads[0]]
    if not plan.dropout(before, HEAD, "before the head"):
        plan.put(leaves[heads[0]][0], Dropout(HEAD), reason, BEFORE)


def _convolutional(plan: Plan) -> None:
    """Plans channel dropout behind pooling, and the fully connected part; with normalisation only before the head."""
    leaves = plan.leaves
    ran = [index for index, (_, module) in enumerate(leaves) if isinstance(module, _ConvNd)]
    if not ran:  # a kernel takes the weights, as in Mamba
        return None
    if any(isinstance(module, NORMS) for _, module in leaves):
        return _head(plan, leaves, "only before the head, as the network has normalisation layers")
    places = list(_maps(leaves))
    for index, (path, dims, reason) in places:
        if not _before_one_output(plan, index) and not plan.dropout(leaves[index + 1 : index + 2], CHANNELS, reason):
            plan.put(path, BY_CHANNEL[dims](CHANNELS), reason)
    _connected(plan, leaves[ran[-1] + 1 :])


def _maps(leaves: Ended) -> Iterator[tuple[int, tuple[str, int, str]]]:
    """Yields the places of channel dropout: behind pooling modules, else behind convolutions."""
    pools = [(i, path, POOLS[type(module)]) for i, (path, module) in enumerate(leaves) if type(module) in POOLS]
    for index, path, dims in pools:
        yield index, (path, dims, "whole channels, behind pooling")
    found = [(i, path, CONVOLUTIONS[type(m)]) for i, (path, m) in enumerate(leaves) if type(m) in CONVOLUTIONS]
    for index, path, dims in [] if pools else found[1:]:
        yield index, (path, dims, "whole channels; the order with ReLU and max pooling does not matter")


def _recurrent(plan: Plan) -> None:
    """Plans sites around recurrent layers and behind the embedding."""
    steps = [(i, path, m) for i, (path, m) in enumerate(plan.leaves) if isinstance(m, (nn.Embedding, nn.RNNBase))]
    for (index, path, module), (_, _, following) in zip(steps, [*steps[1:], (0, "", None)], strict=True):
        if isinstance(module, nn.RNNBase):
            p, reason = (
                (BETWEEN, "between recurrent layers")
                if isinstance(following, nn.RNNBase)
                else (LAST, "behind the last recurrent layer")
            )
            batch_first, owner = module.batch_first, plan.owners[path]
            plan.rate(owner, BETWEEN, "between its layers; PyTorch draws a mask for each time step there")
        elif isinstance(following, nn.RNNBase):
            p, reason, batch_first = WORDS, "behind the embedding", following.batch_first
        else:
            continue
        if not _before_one_output(plan, index) and not plan.dropout(plan.leaves[index + 1 : index + 2], p, reason):
            plan.put(path, LockedDropout(p, batch_first=batch_first), reason)


def _transformer(plan: Plan) -> None:
    """Plans rates for the existing dropout; without any, sites behind activations."""
    for owner in owners(plan.model):
        last = plan.ran and owner.path in plan.output and not list(owner.module.children())
        if last or any(part in owner.name.lower() for part in ("layerdrop", "path")):
            continue
        attention = "attn" in owner.name.lower() or "attention" in type(owner.module).__name__.lower()
        plan.rate(owner, TRANSFORMER, "attention weights" if attention else "feed-forward and residual")
    if not owners(plan.model):
        for path, module in plan.leaves:
            if isinstance(module, ACTIVATIONS):
                plan.put(path, Dropout(TRANSFORMER), "feed-forward activation")
