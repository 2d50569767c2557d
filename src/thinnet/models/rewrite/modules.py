"""Replaces modules, wherever they are held, and puts sites behind or before a module by its hooks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from thinnet.models.rewrite.edits import ABSENT, Change, Entry, Write
from thinnet.models.rewrite.methods import ASKED, Pinned
from thinnet.rng import Site

Place = tuple[nn.Module, str, str]  # the parent, the name of the child in it, and the path of the child
BEHIND, BEFORE = "dropout_behind", "dropout_before"  # the names of inserted children
KEY = -1  # of a hook: PyTorch counts up from 0 in each process, so after unpickling it would give a key of its own twice
HOOK_DICTS = [name for name in vars(nn.Module()) if "hooks" in name]


def places(model: nn.Module) -> dict[nn.Module, list[Place]]:
    """Returns each module below the model with every place that holds it; a shared module has several."""
    found: dict[nn.Module, list[Place]] = {}
    for path, parent in model.named_modules():
        for name, child in parent._modules.items():
            if child is not None:
                found.setdefault(child, []).append((parent, name, f"{path}.{name}".lstrip(".")))
    return found


def describe(module: nn.Module) -> str:
    """Returns a module as a line of an edit shows it.

    >>> describe(nn.Dropout(0.1)), describe(nn.ReLU())
    ('torch.nn.Dropout(p=0.1, inplace=False)', 'torch.nn.ReLU()')
    """
    kind = type(module)
    library = {"torch": "torch.nn.", "thinnet": "thinnet.nn."}.get(kind.__module__.split(".")[0], "")
    return f"{library}{kind.__name__}({module.extra_repr()})"


def device_near(model: nn.Module, path: str) -> torch.device | None:
    """Returns the device of the nearest parameter or buffer around a path; None without one, and on meta."""
    while True:
        around = model.get_submodule(path)
        for tensor in (*around.parameters(), *around.buffers()):
            return None if tensor.is_meta else tensor.device
        if not path:
            return None
        path = path.rpartition(".")[0]


def to_device(new: nn.Module, device: torch.device | None) -> nn.Module:
    """Moves the sites of a new module to a device. Its parameters may be shared, and stay."""
    for module in new.modules():
        if isinstance(module, Site) and device is not None and not list(module.parameters()):
            module.to(device)
    return new


def swap_change(held: Sequence[Place], old: nn.Module, new: nn.Module) -> Change:
    """Returns the change that puts `new` wherever `old` is held. The mode, the hooks and their handles carry over."""
    for module in set(new.modules()) - set(old.modules()):
        module.training = old.training
    writes = [Write(Entry(parent, "_modules", name), new) for parent, name, _ in held]
    if new in set(old.modules()):
        writes += _hooks_of_a_wrapper(old, new)
    elif old not in set(new.modules()):
        _hand_over(old, new)
    also = f", also at {', '.join(path for *_, path in held[1:])}" if len(held) > 1 else ""
    return Change("~", held[0][2], f"{describe(old)} -> {describe(new)}{also}", writes)


def _hand_over(old: nn.Module, new: nn.Module) -> None:
    """Gives a new module the hooks of `old`: the same dictionaries if it has none, so that handles still remove them."""
    for name in (BEHIND, BEFORE):
        if name in old._modules:
            new.add_module(name, old._modules[name])
    for name in HOOK_DICTS:
        theirs, mine = getattr(old, name), getattr(new, name)
        if not mine:
            vars(new)[name] = theirs
        else:
            mine.update(theirs)
    pinned = vars(old).get("train")
    if isinstance(pinned, Pinned):
        Pinned(new, pinned.training).put()
        vars(new)[ASKED] = vars(old)[ASKED]


def _hooks_of_a_wrapper(old: nn.Module, layer: nn.Module) -> list[Write]:
    """Returns the writes that give a layer the hooks which others registered at its wrapper."""
    writes = []
    for name in HOOK_DICTS:
        theirs, mine = getattr(old, name), getattr(layer, name)
        if "state_dict" not in name and isinstance(theirs, dict) and theirs.keys() - {KEY}:
            merged = {**mine, **{key: hook for key, hook in theirs.items() if key != KEY}}
            writes.append(Write(Entry(layer, "__dict__", name), type(mine)(merged) if mine else theirs))
    return writes


def drop_behind(module: nn.Module, args: Any, output: Any) -> Any:
    """Forward hook: applies the inserted site to the output, or to the first element of a tuple, as of recurrent layers."""
    site = module._modules[BEHIND]
    assert site is not None
    if isinstance(output, (Tensor, PackedSequence)):
        return site(output)
    if type(output) is tuple and output and isinstance(output[0], (Tensor, PackedSequence)):
        return (site(output[0]), *output[1:])
    kind = type(output).__name__
    raise TypeError(f"insert: {type(module).__name__} must return a tensor or a tuple; got {kind}. Choose a module in it.")


def drop_before(module: nn.Module, args: Any) -> Any:
    """Forward pre-hook: applies the inserted site to the first argument."""
    site = module._modules[BEFORE]
    assert site is not None
    if not args or not isinstance(args[0], Tensor):
        raise TypeError(f"insert: {type(module).__name__} must be called with a tensor first; got {args[:1]}. Choose another.")
    return (site(args[0]), *args[1:])


HOOKS = {BEHIND: ("_forward_hooks", drop_behind), BEFORE: ("_forward_pre_hooks", drop_before)}


def insert_change(model: nn.Module, path: str, site: Site, reason: str = "", where: str = BEHIND) -> Change:
    """Returns the change that inserts a site behind or before a module.

    The site becomes a child under a reserved name, so it has a path, a mode and a device. A hook of the module applies it.
    Hooks that were there before see the output without the site.
    """
    module = model.get_submodule(path)
    hooks, hook = HOOKS[where]
    device = device_near(model, path)
    site = site if device is None else site.to(device)
    site.train(module.training)
    writes = [Write(Entry(module, "_modules", where), site), Write(Entry(module, hooks, KEY), hook)]
    return Change("+", path, _inserted_text(site, where, module), writes, reason)


def removal_changes(path: str, module: nn.Module) -> list[Change]:
    """Returns the changes that remove the sites which were inserted at a module."""
    changes = []
    for where, (hooks, _) in HOOKS.items():
        site = module._modules.get(where)
        if site is not None and getattr(module, hooks).get(KEY) is not None:
            writes = [Write(Entry(module, hooks, KEY), ABSENT), Write(Entry(module, "_modules", where), ABSENT)]
            changes.append(Change("-", path, _inserted_text(site, where, module), writes))
    return changes


def _inserted_text(site: nn.Module, where: str, module: nn.Module) -> str:
    return f"{describe(site)} {where.removeprefix('dropout_')} {type(module).__name__}"
