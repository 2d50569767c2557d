"""All kinds of work that can be left out of a model: chains of units, layers behind dropped tokens, branches by sample."""

from collections.abc import Callable
from typing import Any

from torch import nn

from thinnet.methods.elementwise.kept import Count
from thinnet.models.rewrite.edits import Entry
from thinnet.models.thin.already import already
from thinnet.models.thin.branches import branches, ends_branch
from thinnet.models.thin.finding import axis_of, pieces
from thinnet.models.thin.piece import Piece
from thinnet.models.thin.tokens import drops_tokens, tokens


def is_site(module: nn.Module) -> bool:
    """Returns whether a module drops what `thin` may leave out."""
    return axis_of(module) is not None or ends_branch(module) or drops_tokens(module)


def all_pieces(
    model: nn.Module, call: Callable[[], Any], groups: int, count: Count, leave: Callable[[str], bool], seed: int
) -> tuple[list[Piece], list[str]]:
    """Returns what can be thinned, and of the other sites why they cannot, or need not be."""
    chains, notes = pieces(model, call, groups, count, leave, seed)
    writes = [write for piece in chains for change in piece.changes for write in change.writes]
    layers = {write.slot.owner for write in writes if isinstance(write.slot, Entry) and write.slot.key == "forward"}
    sites = {model.get_submodule(piece.place) for piece in chains}
    behind, more = tokens(model, call, leave, seed, layers)
    paths, others = branches(model, call, leave, seed, sites, groups)
    return [*chains, *behind, *paths], [*notes, *more, *others, *already(model)]
