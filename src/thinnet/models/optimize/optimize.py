"""Fuses dropout with adjacent operations, wherever a model has them."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from thinnet.methods.elementwise.dropout import Dropout
from thinnet.models.edit.checks import check_model, check_unbound, matches, refuse_unmatched
from thinnet.models.optimize.chains import Found, chains, is_site
from thinnet.models.optimize.run import FusedSite, Fusion, HandingOver
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit, Write
from thinnet.models.rewrite.modules import describe, device_near, places, swap_change, to_device
from thinnet.models.thin.piece import Piece
from thinnet.models.thin.verification import differences
from thinnet.rng.names import unwrap


def optimize(model: nn.Module, *example: Any, leave: Sequence[str] = (), seed: int = 0, **named: Any) -> Edit:
    """Fuses dropout with adjacent operations: one pass over the memory, forward and backward.

    A chain is, in order: an activation (ReLU, GELU, or SiLU times a gate) or an embedding plus positions; dropout; adding a
    residual; layer or RMS normalisation. Any of its parts may be missing but the dropout and one other. The example runs
    once in training mode to find the chains. Each is compared with the separate operations at the same masks, forward and
    backward, to rounding; one that differs stays as it is.

    `nn.Dropout` becomes `thinnet.nn.Dropout`. Paths, `state_dict` keys, parameters and results in eval stay, and `p` may
    change. A forward pass that takes another way than the example runs the separate operations. So do compiled code, any
    device but a CPU, and tensors below 65536 numbers, for which the calls cost more than the passes.

    Args:
        model: any module that is not bound yet. Bind it afterwards.
        example: the arguments of one call.
        leave: `fnmatch` patterns over the paths of sites that stay unchanged.
        seed: of the comparison.
        named: keyword arguments of the call.

    Returns: the edit. Printed, it lists the chains, and the sites without one and why; `undo()` reverts it.

    Raises:
        TypeError: `model` is no module.
        ValueError: there is no example, the model has no plain dropout as a module, it is bound, or a pattern matches nothing.
        RuntimeError: the model does not run with the example.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 8))
    >>> edit = optimize(model, torch.randn(4, 8))
    >>> print(edit)
    ~ 2: gelu + dropout in one pass; thinnet.nn.Dropout(p=0.1, inplace=False)
    >>> edit.undo()
    >>> model[2]
    Dropout(p=0.1, inplace=False)
    """
    model = check_model("optimize", model)
    check_unbound("optimize", model)
    if not example and not named:
        raise ValueError("optimize: example must be what the model is called with; got none. Try thinnet.optimize(model, x).")
    sites = [name for name, module in model.named_modules() if is_site(module)]
    if not sites:
        step = "Serve functions first: thinnet.replace(model, functional=True, example=x)."
        raise ValueError(f"optimize: model must contain dropout of elements as a module; it has none. {step}")
    for pattern in leave:
        if not any(matches(name, pattern) for name in sites):
            refuse_unmatched("optimize", pattern, sites, "a site")
    model = unwrap(model)
    return _found(model, lambda: model(*example, **named), leave, seed)


def _found(model: nn.Module, call: Callable[[], Any], patterns: Sequence[str], seed: int) -> Edit:
    """Applies the chains that stand the comparison."""
    wrong: dict[str, str] = {}
    while True:
        found, reasons = chains(model, call, [*patterns, *wrong], seed)
        notes = [f"{name} is not fused: {why}" for name, why in (reasons | wrong).items()]
        pieces = _pieces(model, found)
        edit = apply_changes(model, [change for piece in pieces for change in piece.changes], notes)
        try:
            failed = differences(model, call, pieces, seed, "optimize") if pieces else {}
        except BaseException:
            edit.undo()
            raise
        if not failed:
            return edit
        edit.undo()
        wrong |= failed


def _pieces(model: nn.Module, found: Sequence[Found]) -> list[Piece]:
    """Returns the changes of every chain."""
    held = places(model)
    return [_piece(model, chain, held) for chain in found]


def _piece(model: nn.Module, chain: Found, held: Any) -> Piece:
    old, fusion, writes = model.get_submodule(chain.site), Fusion(chain.adds, chain.norm), list[Write]()
    site: Any = old
    if type(old) is not Dropout:
        site = to_device(Dropout(old.p, inplace=old.inplace), device_near(model, chain.site))  # type: ignore[arg-type]
        writes += swap_change(held[old], old, site).writes
    writes.append(FusedSite(site, fusion).write())
    if chain.start is not None:
        writes.append(HandingOver(model.get_submodule(chain.start.place), chain.start.inside, fusion).write())
    text = f"{' + '.join(chain.steps)} in one pass; {describe(site)}"
    return Piece(chain.site, [Change("~", chain.site, text, writes)], fusion)  # pyright: ignore[reportArgumentType]
