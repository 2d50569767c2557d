"""Plans the thinning of chains of units, from one pass of a model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from thinnet.methods.elementwise.batchwise_dropout import BatchwiseDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.elementwise.kept import Count, width_of
from thinnet.methods.residual.stochastic_depth import StochasticDepth
from thinnet.methods.spatial.spatial_dropout import Dropout1d, Dropout2d, Dropout3d
from thinnet.models.edit.equivalents import same_forward
from thinnet.models.rewrite.edits import Change
from thinnet.models.rewrite.modules import describe, device_near, places, swap_change, to_device
from thinnet.models.state import preserve_state
from thinnet.models.thin.chain_run import Chain, ThinnedLayer, ThinnedNorm, ThinnedSite
from thinnet.models.thin.chain_search import Found, Probe, chain_at, used_elsewhere
from thinnet.models.thin.gain import slower
from thinnet.models.thin.layers import layer_of
from thinnet.models.thin.piece import Obstacle, Piece, Settings
from thinnet.models.trace import trace
from thinnet.models.trace.record import Node
from thinnet.rng import Site

SLOWER = "a step would take about {:.2g} ms longer, by its shapes and rate; always=True thins it"
AXES: Mapping[type[nn.Module], int] = {
    nn.Dropout: -1,
    Dropout: -1,
    nn.Dropout1d: 1,
    nn.Dropout2d: 1,
    nn.Dropout3d: 1,
    Dropout1d: 1,
    Dropout2d: 1,
    Dropout3d: 1,
}


def axis_of(module: nn.Module) -> int | None:
    """Returns the axis whose units a site drops; None for a site of another kind."""
    if type(module) is BatchwiseDropout:
        return module.axis
    return next((axis for kind, axis in AXES.items() if same_forward(module, kind) and _plain(module, kind)), None)


def _plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    return not issubclass(kind, Site) or (type(module) is kind and not getattr(module, "structured", False))


def pieces(
    model: nn.Module, call: Callable[[], Any], settings: Settings, leave: Callable[[str], bool]
) -> tuple[list[Piece], list[str]]:
    """Returns the chains of a model that can be thinned, and for its other sites the reasons why not."""
    sites = {module: name for name, module in model.named_modules() if axis_of(module) is not None}
    nodes = _traced(model, call, sites, settings.seed)
    found, notes = _chains(nodes, sites, settings, leave)
    return _pieces(model, found, settings.groups, settings.count), notes


def _traced(model: nn.Module, call: Callable[[], Any], sites: Mapping[nn.Module, str], seed: int) -> Sequence[Node]:
    def whole(module: nn.Module) -> bool:
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        branch = isinstance(module, StochasticDepth) and module.mode == "row"  # it may contain chains
        return module in sites or (isinstance(module, Site) and not branch) or norm or layer_of(module) is not None

    with preserve_state(model, seed):
        model.train()
        for module in sites:
            Probe(module, axis_of(module)).put()  # type: ignore[arg-type]
        return trace(model, call, level="functions", whole=whole).nodes


def _chains(
    nodes: Sequence[Node], sites: Mapping[nn.Module, str], settings: Settings, leave: Callable[[str], bool]
) -> tuple[list[Found], list[str]]:
    found, reasons = [], {}
    for site in (node for node in nodes if node.module in sites):
        assert site.module is not None
        try:
            if leave(site.name):
                raise Obstacle("excluded by leave=")
            chain = chain_at(nodes, site, axis_of(site.module))  # type: ignore[arg-type]
            _check(chain, settings.groups)
            found.append(chain)
        except Obstacle as obstacle:
            reasons.setdefault(site.name, str(obstacle))
    losses = {} if settings.always else slower(found, settings.groups)
    reasons |= {sites[site]: SLOWER.format(1e3 * loss) for site, loss in losses.items()}
    found = [chain for chain in found if chain.site.module not in losses]
    while elsewhere := used_elsewhere(found, nodes):  # removing a chain may leave another with a module that runs elsewhere
        reasons |= {chain.site.name: reason for chain, reason in elsewhere.items()}
        found = [chain for chain in found if chain not in elsewhere]
    ran = {node.module for node in nodes}
    reasons |= {name: "the example does not reach it" for module, name in sites.items() if module not in ran}
    return found, [f"{name} is not thinned: {reason}" for name, reason in reasons.items()]


def _check(found: Found, groups: int) -> None:
    site: Any = found.site.module
    groups = site.groups if type(site) is BatchwiseDropout else groups
    if found.norms and groups > 1:
        raise Obstacle(f"{found.norms[0]} normalises over the batch, but {groups} groups keep different channels")
    if site.p and width_of(found.units, site.p) == found.units:
        raise Obstacle(f"at p = {site.p} none of its {found.units} units can be skipped")


def _pieces(model: nn.Module, found: Sequence[Found], groups: int, count: Count) -> list[Piece]:
    """Returns the changes of every chain. A layer may read one chain and make another."""
    held, sites, chains = places(model), dict[nn.Module, BatchwiseDropout](), dict[nn.Module, Chain]()
    reads: dict[nn.Module, tuple[Chain, int]] = {}
    makes: dict[nn.Module, tuple[Chain, bool]] = {}
    for one in found:
        old = one.site.module
        assert old is not None
        if old in chains:
            continue
        sites[old] = _site(model, old, one, groups, count)
        direct = all(other.direct for other in found if other.site.module is old)
        chain = chains[old] = Chain(sites[old], one.units, direct)
        reads |= {node.module: (chain, run) for node, run in one.consumers}  # type: ignore[misc]
        makes |= {node.module: (chain, node is one.producers[0]) for node in one.producers}  # type: ignore[misc]
    made: dict[nn.Module, ThinnedLayer] = {}
    for layer in {**makes, **reads}:
        read, run = reads.get(layer, (None, 1))
        make, first = makes.get(layer, (None, False))
        made[layer] = ThinnedLayer(layer, read, run, make, first)
    done: dict[nn.Module, Piece] = {}
    for one in found:
        old = one.site.module
        if old is not None and old not in done:
            done[old] = _piece(one, held[old], sites[old], chains[old], made)
    return list(done.values())


def _site(model: nn.Module, old: nn.Module, found: Found, groups: int, count: Count) -> BatchwiseDropout:
    if type(old) is BatchwiseDropout:
        return old
    site = BatchwiseDropout(old.p, found.axis, groups, count)  # type: ignore[arg-type]
    to_device(site, device_near(model, found.site.name))
    return site.train(old.training)


def _piece(found: Found, held: list, site: BatchwiseDropout, chain: Chain, made: Mapping[nn.Module, ThinnedLayer]) -> Piece:
    old = found.site.module
    assert old is not None
    writes = [ThinnedSite(chain).write()]
    for node in (*found.producers, *(node for node, _ in found.consumers)):
        assert node.module is not None
        writes.append(made[node.module].write())
    for node in found.norms:
        assert isinstance(node.module, nn.modules.batchnorm._BatchNorm)
        writes.append(ThinnedNorm(node.module, chain).write())
    if site is not old:
        writes = [*swap_change(held, old, site).writes, *writes]
    return Piece(found.site.name, [Change("~", found.site.name, _text(found, site), writes)], chain)


def _text(found: Found, site: BatchwiseDropout) -> str:
    makes, reads = found.producers, [node for node, _ in found.consumers]
    width = width_of(found.units, site.p or 0.0)
    made = f"{_named(makes)} {'compute' if len(makes) > 1 else 'computes'} {width} of {found.units} units"
    return f"{made}, which {_named(reads)} {'read' if len(reads) > 1 else 'reads'}; {describe(site)}"


def _named(nodes: Sequence[Node]) -> str:
    return " and ".join(node.name for node in nodes)
