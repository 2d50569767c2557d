"""Plans the thinning of residual branches that end in `DropPath`: they run on the kept samples."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from torch import nn

from thinnet.methods.residual.drop_path import DropPath
from thinnet.models.edit.equivalents import equivalent
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Entry, Write
from thinnet.models.rewrite.modules import Place, describe, device_near, places, swap_change, to_device
from thinnet.models.state import preserve_state
from thinnet.models.thin.branch_run import Gather, SkippedSite, Skipping
from thinnet.models.thin.branch_search import Residual, outside, residual_at
from thinnet.models.thin.piece import Obstacle, Piece
from thinnet.models.thin.verification import differences
from thinnet.models.trace import Trace, trace
from thinnet.rng import Site

KEY = -2  # of the hook: PyTorch counts up from 0
Held = Mapping[nn.Module, list[Place]]


def ends_branch(module: nn.Module) -> bool:
    """Returns whether a module is a site that drops the output of a branch for whole samples."""
    return type(module) is DropPath


def branches(
    model: nn.Module,
    call: Callable[[], Any],
    leave: Callable[[str], bool],
    seed: int,
    named: Collection[nn.Module] = (),
    groups: int = 1,
) -> tuple[list[Piece], list[str]]:
    """Returns the branches of a model that can run on the kept samples, and for the other sites the reasons why not.

    Each is compared with the branch on all samples, on the example with every second sample dropped.

    Args:
        model: the model.
        call: runs it with the example.
        leave: whether a site stays unchanged.
        seed: of the comparison.
        named: dropout that will share masks in groups of samples. Other dropout of PyTorch in a branch becomes addressable.
        groups: the number of groups.
    """
    names = {module: name for name, module in model.named_modules() if ends_branch(module)}
    if not names:
        return [], []
    found, reasons = _found(model, call, names, leave, seed)
    if groups > 1:
        found = [uses for uses in found if not _grouped(uses, named, names, reasons)]
    pieces = _pieces(model, found, named=())
    wrong = _tried(model, call, pieces, seed)
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    for uses in found:
        place = names[uses[0].site.module]  # type: ignore[index]
        if place in wrong:
            reasons[place] = f"with every second sample dropped, {wrong[place]}" + next(
                filter(None, (outside(use, own) for use in uses)), ""
            )
    pieces = _pieces(model, [uses for uses in found if names[uses[0].site.module] not in wrong], named)  # type: ignore[index]
    return pieces, [f"{name} is not thinned: {reason}" for name, reason in reasons.items()]


def _found(
    model: nn.Module, call: Callable[[], Any], names: Mapping[nn.Module, str], leave: Callable[[str], bool], seed: int
) -> tuple[list[list[Residual]], dict[str, str]]:
    """Returns the branches of each site, one for each use of it."""
    with preserve_state(model, seed):
        model.train()
        record = trace(
            model,
            call,
            level="functions",
            whole=lambda module: isinstance(module, Site) or _is_pytorch_dropout(module) or _is_pytorch_leaf(module),
        )
    found, reasons = [], {}
    for module, name in names.items():
        try:
            if leave(name):
                raise Obstacle("excluded by leave=")
            uses = [residual_at(record, node) for node in record.nodes if node.module is module]
            if not uses:
                raise Obstacle("the example does not reach it")
            _check_readers(uses, record, [call.module for others in found for use in others for call in use.readers])
            found.append(uses)
        except Obstacle as obstacle:
            reasons[name] = str(obstacle)
    return found, reasons


def _grouped(
    uses: Sequence[Residual], named: Collection[nn.Module], names: Mapping[nn.Module, str], reasons: dict[str, str]
) -> bool:
    inside = next((node for use in uses for node in use.nodes if node.module in named), None)
    if inside is not None:
        place = names[uses[0].site.module]  # type: ignore[index]
        reasons[place] = f"{inside} shares its mask within groups of the whole batch"
    return inside is not None


def _is_pytorch_dropout(module: nn.Module) -> bool:
    """Returns whether a module is dropout of PyTorch that has an equivalent site."""
    return bool(getattr(module, "p", getattr(module, "dropout", 0))) and equivalent(module) is not None


def _is_pytorch_leaf(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn") and not list(module.children())


def _check_readers(uses: Sequence[Residual], record: Trace, taken: Sequence[nn.Module]) -> None:
    """Raises an `Obstacle` if a module that reads an entry also runs elsewhere: it would gather samples there too."""
    readers = [call for use in uses for call in use.readers]
    for reader in readers:
        if reader.module in taken or sum(call.module is reader.module for call in record.calls) != sum(
            call.module is reader.module for call in readers
        ):
            raise Obstacle(f"{reader.name} also runs elsewhere")


def _pieces(model: nn.Module, found: Sequence[Sequence[Residual]], named: Collection[nn.Module]) -> list[Piece]:
    held, swaps = places(model), dict[nn.Module, list[Write]]()
    pieces = []
    for uses in found:
        site = uses[0].site.module
        assert isinstance(site, Site)
        dropping = dict.fromkeys(m for use in uses for node in use.nodes if (m := node.module) is not None and _site_in(m))
        inner = [(parent, key) for module in dropping for parent, key, _ in held.get(module, ())]
        ran = [*(node.module for use in uses for node in use.nodes), *(call.module for use in uses for call in use.readers)]
        layers = dict.fromkeys(each for module in ran if module is not None for each in module.modules())
        skipping = Skipping(site, inner, list(layers))
        writes = [write for module in dropping if module not in named for write in _swap(model, module, held, swaps)]
        writes.append(SkippedSite(skipping).write())
        for module, first in {call.module: call is use.readers[0] for use in uses for call in use.readers}.items():
            writes.append(Write(Entry(module, "_forward_pre_hooks", KEY), Gather(skipping, first)))
            writes.append(Write(Entry(module, "_forward_pre_hooks_with_kwargs", KEY), True))
        name = held[site][0][2] if site in held else ""
        text = _text(
            uses, site, [held[module][0][2] for module in dropping if _is_pytorch_dropout(module) and module not in named]
        )
        pieces.append(Piece(name, [Change("~", name, text, writes)], skipping))
    return pieces


def _site_in(module: nn.Module) -> bool:
    return _is_pytorch_dropout(module) or any(isinstance(each, Site) for each in module.modules())


def _swap(model: nn.Module, old: nn.Module, held: Held, swaps: dict[nn.Module, list[Write]]) -> list[Write]:
    """Returns the writes that replace dropout of PyTorch by a site, once for each module."""
    new = None if old in swaps or isinstance(old, Site) or not _is_pytorch_dropout(old) else equivalent(old)
    if new is None:
        return []
    new = to_device(new, device_near(model, held[old][0][2]))
    swaps[old] = list(swap_change(held[old], old, new.train(old.training)).writes)
    return swaps[old]


def _text(uses: Sequence[Residual], site: Site, swapped: Sequence[str]) -> str:
    starts = " and ".join(dict.fromkeys(use.readers[0].name for use in uses))
    what = "the branch" if len(uses) == 1 else "every branch"
    with_names = f"; now sites of thinnet: {', '.join(swapped)}" if swapped else ""
    return f"{what} from {starts} runs on the kept samples; {describe(site)}{with_names}"


def _tried(model: nn.Module, call: Callable[[], Any], pieces: Sequence[Piece], seed: int) -> dict[str, str]:
    """Returns the pieces that change what the network computes when every second sample is dropped."""
    if not pieces:
        return {}
    switches: list[Any] = [piece.switch for piece in pieces]
    edit = apply_changes(model, [change for piece in pieces for change in piece.changes])
    try:
        for switch in switches:
            switch.probing = True
        return differences(model, call, pieces, seed)
    finally:
        edit.undo()
