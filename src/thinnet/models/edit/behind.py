"""A site behind the output of a module, or before its input, without a new class, index or key.

The site becomes a child of the module under a reserved name, so that it has a path, a mode and a device; one forward hook of
the module, a function of this file, applies it. Hooks that were there before see the output as the module made it.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from thinnet.models.edit.change import Change, Write
from thinnet.models.edit.naming import device_near, shown
from thinnet.models.edit.slots import ABSENT, Entry
from thinnet.rng import Site

BEHIND, BEFORE = "dropout_behind", "dropout_before"
KEY = -1  # PyTorch numbers hooks upwards from 0 anew in each process, and would give a number of its own twice after unpickling


def drop_behind(module: nn.Module, args: Any, output: Any) -> Any:
    """The forward hook: applies the site to the output, or to the first part of a tuple, as recurrent layers return one."""
    site = module._modules[BEHIND]
    assert site is not None
    if isinstance(output, (Tensor, PackedSequence)):
        return site(output)
    if type(output) is tuple and output and isinstance(output[0], (Tensor, PackedSequence)):
        return (site(output[0]), *output[1:])
    kind = type(output).__name__
    raise TypeError(f"insert: {type(module).__name__} must return a tensor or a tuple; got {kind}. Choose a module in it.")


def drop_before(module: nn.Module, args: Any) -> Any:
    """The forward pre-hook: applies the site to the first argument."""
    site = module._modules[BEFORE]
    assert site is not None
    if not args or not isinstance(args[0], Tensor):
        raise TypeError(f"insert: {type(module).__name__} must be called with a tensor first; got {args[:1]}. Choose another.")
    return (site(args[0]), *args[1:])


HOOKS = {BEHIND: ("_forward_hooks", drop_behind), BEFORE: ("_forward_pre_hooks", drop_before)}


def inserted(model: nn.Module, path: str, site: Site, reason: str = "", where: str = BEHIND) -> Change:
    """Returns the change that puts a site behind a module, or before it."""
    module = model.get_submodule(path)
    hooks, hook = HOOKS[where]
    device = device_near(model, path)
    site = site if device is None else site.to(device)
    site.train(module.training)
    writes = [Write(Entry(module, "_modules", where), site), Write(Entry(module, hooks, KEY), hook)]
    return Change("+", path, f"{shown(site)} {where.removeprefix('dropout_')} {type(module).__name__}", writes, reason)


def removed(path: str, module: nn.Module) -> list[Change]:
    """Returns the changes that take out what was inserted at a module."""
    changes = []
    for where, (hooks, _) in HOOKS.items():
        site = module._modules.get(where)
        if site is not None and getattr(module, hooks).get(KEY) is not None:
            writes = [Write(Entry(module, hooks, KEY), ABSENT), Write(Entry(module, "_modules", where), ABSENT)]
            text = f"{shown(site)} {where.removeprefix('dropout_')} {type(module).__name__}"
            changes.append(Change("-", path, text, writes))
    return changes
