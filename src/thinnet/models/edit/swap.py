"""A module in the place of another one, everywhere that one is held."""

from collections.abc import Sequence

import torch
from torch import nn

from thinnet.methods.attention.multihead_attention import MultiheadAttention
from thinnet.methods.elementwise.alpha_dropout import AlphaDropout, FeatureAlphaDropout
from thinnet.methods.elementwise.dropout import Dropout
from thinnet.methods.spatial.spatial_dropout import Dropout1d, Dropout2d, Dropout3d
from thinnet.models.edit.behind import BEFORE, BEHIND, KEY
from thinnet.models.edit.change import Change, Write
from thinnet.models.edit.naming import Place, also, shown
from thinnet.models.edit.pin import ASKED, Pinned
from thinnet.models.edit.slots import Entry
from thinnet.rng import Site

OURS: dict[type[nn.Module], type[Site]] = {
    nn.Dropout: Dropout,
    nn.Dropout1d: Dropout1d,
    nn.Dropout2d: Dropout2d,
    nn.Dropout3d: Dropout3d,
    nn.AlphaDropout: AlphaDropout,
    nn.FeatureAlphaDropout: FeatureAlphaDropout,
}
HOOKS = [name for name in vars(nn.Module()) if "hooks" in name]


def ours(old: nn.Module) -> nn.Module | None:
    """Returns thinnet's module for one of PyTorch's, with its settings; None where there is none or none is needed."""
    for theirs, site in OURS.items():
        if same_forward(old, theirs):
            return site(old.p, inplace=old.inplace)  # type: ignore[call-arg]
    if type(old) is nn.MultiheadAttention and old.dropout > 0:
        return _attention(old)
    return None


def same_forward(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Returns whether a module is of a class, or of a subclass that computes the same."""
    return isinstance(module, kind) and type(module).forward is kind.forward and "forward" not in vars(module)


def _attention(old: nn.MultiheadAttention) -> nn.Module:
    sizes = old.embed_dim, old.num_heads, old.dropout
    new = MultiheadAttention(*sizes, add_zero_attn=old.add_zero_attn, batch_first=old.batch_first, device="meta")
    new.kdim, new.vdim = old.kdim, old.vdim
    for name in (*old._parameters, "bias_k", "bias_v"):
        new.register_parameter(name, getattr(old, name))
    new.out_proj = old.out_proj
    return new


def swapped(held: Sequence[Place], old: nn.Module, new: nn.Module, reason: str = "") -> Change:
    """Returns the change that puts `new` wherever `old` is held; mode, hooks and their handles go with it."""
    for module in set(new.modules()) - set(old.modules()):
        module.training = old.training
    writes = [Write(Entry(parent, "_modules", name), new) for parent, name, _ in held]
    if new in set(old.modules()):
        writes += _hooks_of_a_wrapper(old, new)
    elif old not in set(new.modules()):
        _hand_over(old, new)
    return Change("~", held[0][2], f"{shown(old)} -> {shown(new)}{also(list(held))}", writes, reason)


def _hand_over(old: nn.Module, new: nn.Module) -> None:
    """Gives a new module the hooks of `old`: the same dictionaries where it has none, so that handles go on to remove them."""
    for name in (BEHIND, BEFORE):
        if name in old._modules:
            new.add_module(name, old._modules[name])
    for name in HOOKS:
        theirs, mine = getattr(old, name), getattr(new, name)
        if not mine:
            vars(new)[name] = theirs
        else:
            mine.update(theirs)
    pinned = vars(old).get("train")
    if isinstance(pinned, Pinned):
        vars(new).update({"train": Pinned(new, pinned.training), ASKED: vars(old)[ASKED]})


def _hooks_of_a_wrapper(old: nn.Module, layer: nn.Module) -> list[Write]:
    """Returns what gives a layer the hooks that others registered at its wrapper."""
    writes = []
    for name in HOOKS:
        theirs, mine = getattr(old, name), getattr(layer, name)
        if "state_dict" not in name and isinstance(theirs, dict) and theirs.keys() - {KEY}:
            merged = {**mine, **{key: hook for key, hook in theirs.items() if key != KEY}}
            writes.append(Write(Entry(layer, "__dict__", name), type(mine)(merged) if mine else theirs))
    return writes


def to_device(new: nn.Module, device: torch.device | None) -> nn.Module:
    """Brings the sites of a new module to a device; its parameters may be shared and stay."""
    for module in new.modules():
        if isinstance(module, Site) and device is not None and not list(module.parameters()):
            module.to(device)
    return new
