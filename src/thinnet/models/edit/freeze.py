"""Keeps dropout on or off, whatever `model.train()` and `model.eval()` set."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.edit.checks import check_model, check_scripted, matches, refuse_unmatched
from thinnet.models.edit.decisions import Decision, decisions, is_dropout_draw, mute_change
from thinnet.models.edit.order import call_with
from thinnet.models.edit.rates import owners
from thinnet.models.passes import traced
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Change, Edit, Write
from thinnet.models.rewrite.methods import Mode, Pinned
from thinnet.models.rewrite.modules import describe
from thinnet.models.state import preserve_state
from thinnet.models.trace import Trace
from thinnet.models.trace.record import SiteId
from thinnet.rng import Site

PASSES = 4  # one of them reaches a layer that is skipped at random


def freeze(model: nn.Module, patterns: str | Iterable[str] | None = None, training: bool = False, example: Any = None) -> Edit:
    """Pins the mode of dropout: off for a frozen trunk, or on for Monte-Carlo dropout.

    `train()` and `eval()` of the model no longer change the flag of these modules; their children still follow the model. Code
    that writes `module.training` itself still has its effect. Copies and pickles stay pinned. `undo` sets each module to the
    mode that was asked for last.

    Whatever decides about dropout by its own mode is pinned as a whole: `nn.MultiheadAttention` and other modules that hold a
    rate as a number, modules that call a dropout function with `self.training`, and the attention of Hugging Face's models,
    which reads the rate of its child. The source of their methods shows these. Functions that no mode turns off, such as
    `F.dropout(x, 0.5)`, are turned off with it. An example checks the result.

    Args:
        model: any module.
        patterns: one or several `fnmatch` patterns over the paths of modules that decide about dropout; all of them by default.
        training: False for off, True for on.
        example: an input: a tensor, a tuple of arguments, or a mapping of named ones. The model runs with it in both modes.

    Returns: the edit.

    Raises:
        ValueError: a pattern matches no module with dropout, or the model has none; or, with the example, some dropout does not
            keep the mode. The model is unchanged then.
        TypeError: `model` is no module, or `training` is no bool.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    >>> edit = freeze(model)
    >>> model.train()[1].training
    False
    >>> edit.undo()
    >>> model[1].training
    True
    """
    model = check_model("freeze", model)
    check_scripted("freeze", model)
    if not isinstance(training, bool):
        raise TypeError(f"freeze: training must be True or False; got {training!r}. It is the mode to keep.")
    wanted = (patterns,) if isinstance(patterns, str) else ("*",) if patterns is None else tuple(patterns)
    deciding = {each.module: each for each in decisions(model)}
    chosen = _chosen(model, deciding, wanted)
    always = [each for each in deciding.values() if each.always and each.module in chosen]
    by_mode = {module: path for module, path in chosen.items() if module not in deciding or deciding[module].by_mode}
    changes = [
        pin_change(path, module, training) for module, path in (by_mode | (_fused(model, chosen) if training else {})).items()
    ]
    edit = apply_changes(model, changes + [mute_change(each) for each in always if not training])
    if example is not None:
        try:
            _check(model, example, wanted, training)
        except BaseException:
            edit.undo()
            raise
    return edit


def _chosen(model: nn.Module, deciding: dict[nn.Module, Decision], patterns: tuple[str, ...]) -> dict[nn.Module, str]:
    """Returns the modules that match, and those that read the rate of one, with their paths."""
    there = {owner.path: owner.module for owner in owners(model)} | {each.path: each.module for each in deciding.values()}
    there |= {path: module for path, module in model.named_modules() if isinstance(module, Site)}
    chosen: dict[nn.Module, str] = {}
    for pattern in patterns:
        found = [(path, module) for path, module in there.items() if matches(path, pattern)]
        if not found:
            refuse_unmatched("freeze", pattern, there, "a module with dropout")
        for path, module in found:
            chosen.setdefault(module, path)
    return chosen | {each.module: each.path for each in deciding.values() if each.reads & chosen.keys()}


def _fused(model: nn.Module, chosen: dict[nn.Module, str]) -> dict[nn.Module, str]:
    """Returns the encoder layers of PyTorch around dropout that stays on: training mode keeps them off the path without it."""
    layers = {module: path for path, module in model.named_modules() if isinstance(module, nn.TransformerEncoderLayer)}
    return {layer: path for layer, path in layers.items() if chosen.keys() & set(layer.modules())}


def _check(model: nn.Module, example: Any, patterns: tuple[str, ...], training: bool) -> None:
    """Raises a ValueError that names the dropout which does not keep its mode."""
    there, outs = _passes(model, example, True)
    wrong = _drawing(there, patterns)
    if training:
        evaluated, _ = _passes(model, example, False)
        on, ran = _drawing(evaluated, patterns), set().union(*(each.visited for each in evaluated))
        wrong = {site: line for site, line in wrong.items() if site not in on and site[0] in ran}
    elif all(_same(outs[0], out) for out in outs):  # numbers that are drawn and have no effect
        return
    if wrong:
        places = ", ".join(f"{path or 'the model'} ({line or 'no line'})" for (path, _), line in wrong.items())
        rule = f"freeze: dropout must follow the mode of its module to stay {'on' if training else 'off'}; got other dropout at"
        raise ValueError(f"{rule} {places}. Serve it by a site: thinnet.replace(model, functional=True, example=x).")


def _passes(model: nn.Module, example: Any, mode: bool) -> tuple[list[Trace], list[list[Tensor]]]:
    """Returns the records and the output tensors of some passes, each with other random numbers."""
    records, outs = [], []
    for seed in range(PASSES):
        made: list[Any] = []
        with preserve_state(model, seed):
            records.append(traced(model, lambda model: made.append(call_with(model, example)), mode))  # noqa: B023
        outs.append([leaf.detach() for leaf in tree_leaves(made) if isinstance(leaf, Tensor)])
    return records, outs


def _drawing(passes: list[Trace], patterns: tuple[str, ...]) -> dict[SiteId, str | None]:
    """Returns the sites of dropout, with their lines."""
    sites = {draw.site: draw.line for each in passes for draw in each.draws if is_dropout_draw(draw)}
    return {site: line for site, line in sites.items() if any(matches(site[0], pattern) for pattern in patterns)}


def _same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(a.shape == b.shape and a.equal(b) for a, b in zip(one, other, strict=True))


def pin_change(path: str, module: nn.Module, training: bool) -> Change:
    """Returns the change that pins the mode of a module."""
    word = "on" if training else "off"
    return Change("~", path, f"{describe(module)} stays {word}", [Write(Mode(module), Pinned(module, training))])
