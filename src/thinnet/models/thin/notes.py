"""Notes on dropout that skips its work by itself, and on dropout that `thin` cannot help."""

from collections.abc import Callable

from torch import nn

from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.attention.multihead_attention import MultiheadAttention
from thinnet.methods.residual.layer_drop import LayerDrop
from thinnet.methods.residual.separable import mixing
from thinnet.methods.residual.stochastic_depth import StochasticDepth
from thinnet.methods.tokens.patch_dropout import PatchDropout
from thinnet.models.state import preserve_state
from thinnet.rng import Site

PATHS = ("DropPath", "StochasticDepth")


def notes_on(model: nn.Module) -> list[str]:
    """Returns which modules skip dropped work by themselves, and which cannot be thinned.

    >>> notes_on(nn.Sequential(StochasticDepth(nn.Linear(4, 4), 0.5, mode="batch")))
    ['0 needs no thinning: StochasticDepth skips what it drops']
    """
    with preserve_state(model):
        model.train()
        notes = [(name, _note(module)) for name, module in model.named_modules()]
    return [f"{name or 'the model'} {note}" for name, note in notes if note]


def _note(module: nn.Module) -> str:
    note = NOTES.get(type(module))
    if note is not None:
        return note(module)
    if type(module).__name__.endswith(PATHS) and not isinstance(module, Site):
        make = f"thinnet.replace(model, {{{type(module).__name__}: lambda old: thinnet.nn.DropPath(old.drop_prob)}})"
        return f"is not thinned: its masks have no address; call {make} first"
    return ""


def _depth(module: nn.Module) -> str:
    assert isinstance(module, StochasticDepth)
    mixes = mixing(module.layer.modules(), module.skip is True) if module.mode == "row" else None
    if module.skip is False or mixes is not None:
        reason = "skip is False" if mixes is None else f"{type(mixes).__name__} combines several samples; skip=True allows it"
        return f"is not thinned: {reason}"
    return "needs no thinning: StochasticDepth skips what it drops"


def _attention(module: nn.Module) -> str:
    heads = module.heads
    if not isinstance(heads, DropHead):
        return ""
    if heads.shared:
        return "needs no thinning: MultiheadAttention skips the heads that it drops"
    return "is not thinned: it drops other heads for each sample; DropHead(p, shared=True) drops them for the batch"


NOTES: dict[type[nn.Module], Callable[[nn.Module], str]] = {
    StochasticDepth: _depth,
    LayerDrop: lambda module: "needs no thinning: LayerDrop skips what it drops",
    PatchDropout: lambda module: "needs no thinning: later layers only see the kept tokens",
    MultiheadAttention: _attention,
}
