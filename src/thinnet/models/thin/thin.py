"""Makes a model skip the work that dropout drops: a training step computes the thinned network alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from thinnet.methods.elementwise.batchwise_dropout import check_settings
from thinnet.methods.elementwise.kept import Count
from thinnet.models.edit.checks import check_model, check_unbound, matches, refuse_unmatched
from thinnet.models.rewrite.apply import apply_changes
from thinnet.models.rewrite.edits import Edit, Entry
from thinnet.models.thin.branch_plan import branches, ends_branch
from thinnet.models.thin.chain_plan import axis_of, pieces
from thinnet.models.thin.notes import notes_on
from thinnet.models.thin.piece import Piece, Settings
from thinnet.models.thin.tokens import drops_tokens, tokens
from thinnet.models.thin.verification import differences
from thinnet.report.table import Table, Tabular
from thinnet.rng.names import unwrap

KEY = "_thinning"


class Thinning(Tabular):
    """The thinning of a model: `print(thinning)` lists what is thinned, and what is not and why; `undo()` reverts it.

    Args:
        model: the model.
        settings: of the thinning.
        patterns: of sites that stay unchanged.
    """

    def __init__(self, model: nn.Module, settings: Settings, patterns: Sequence[str]) -> None:
        self.model, self.settings, self.patterns = model, settings, patterns
        self.edit: Edit | None = None
        self._waiting: Any = None

    @property
    def thinned(self) -> tuple[str, ...]:
        """The paths of the sites whose dropped work is skipped."""
        places = [change.place for change in self.edit or ()]
        return tuple(dict.fromkeys(places))

    @property
    def notes(self) -> tuple[str, ...]:
        """The sites that are not thinned, and why."""
        return () if self.edit is None else self.edit.notes

    def __str__(self) -> str:
        return "# waits for the first batch in training mode" if self.edit is None else str(self.edit)

    def tables(self) -> list[Table]:
        """Returns one table with a row a thinned site, for notebooks."""
        return [Table((), (), "waits for the first batch in training mode")] if self.edit is None else self.edit.tables()

    def find(self, call: Callable[[], Any]) -> None:
        """Finds what can be thinned in a call of the model, thins it, and checks the result."""
        self._stop_waiting()
        wrong: dict[str, str] = {}

        def leave(name: str) -> bool:
            return name in wrong or any(matches(name, pattern) for pattern in self.patterns)

        while True:
            found, notes = _all_pieces(self.model, call, self.settings, leave)
            notes = [note for note in notes if note.split(" is not thinned")[0] not in wrong]
            notes += [f"{place} is not thinned: {why}" for place, why in wrong.items()]
            edit = apply_changes(self.model, [change for piece in found for change in piece.changes], notes)
            try:
                failed = differences(self.model, call, found, self.settings.seed) if found else {}
            except BaseException:
                edit.undo()
                raise
            if not failed:
                self.edit = edit
                return
            edit.undo()
            wrong |= failed

    def wait(self) -> None:
        """Thins the model in its first call in training mode."""
        self._waiting = self.model.register_forward_pre_hook(self._first_batch, prepend=True, with_kwargs=True)

    def _first_batch(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if torch.compiler.is_compiling():
            raise RuntimeError("thin: example must be given before a model is compiled. Call thinnet.thin(model, x) first.")
        if model.training:
            self.find(lambda: model(*args, **kwargs))

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.remove()
            self._waiting = None

    def undo(self) -> None:
        """Restores the original modules. Parameters keep their current values.

        Raises: ValueError where a later change touched one of these places.
        """
        self._stop_waiting()
        if self.edit is not None:
            self.edit.undo()
        vars(self.model).pop(KEY, None)


def thin(
    model: nn.Module,
    *example: Any,
    groups: int = 1,
    count: Count = "fixed",
    leave: Sequence[str] = (),
    always: bool = False,
    undo: bool = False,
    seed: int = 0,
    **named: Any,
) -> Thinning:
    """Skips the work that dropout drops: layers compute only the kept units, forward and backward.

    y = W2[:, k] f(W1[k] x + b1[k]) / (1 - p) + b2, with k the kept units.

    A chain is thinned if its parts are, in order: layers that make units (`Linear`, `Conv1d`, `Conv2d`, `Conv3d`); operations
    on each unit alone (activations, pooling, batch normalisation of channels); dropout of units or channels; layers that read
    them. Skipping needs one mask for many samples, so the site becomes a `thinnet.nn.BatchwiseDropout` at the same rate, which
    shares its mask within a group. Each chain is compared with the masked network on the example, forward and backward, to
    rounding; one that differs is not thinned. `DropPath` branches run on the kept samples, and `Linear` layers behind
    `TokenDropout` on the kept tokens, with the masks they had.

    A chain that would take longer is left alone: its layers are narrow, its rate is low, or the batch is small. This is an
    estimate from the shapes of the example, the rates and the number of threads, for float32 on a CPU.

    Parameters, `state_dict` keys and results in eval stay. The weights of a dropped unit get a gradient of zero; momentum and
    weight decay still move them, as with any dropout. Activations of dropped units are never allocated.

    Args:
        model: any module that is not bound yet. Bind it afterwards: a group has the address of its first sample.
        example: the arguments of one call. Without them, the first batch in training mode is the example.
        groups: how many contiguous groups a batch has, each with its own mask: more thinned networks a step, in smaller
            products. One is fastest.
        count: "fixed" keeps exactly K of n units, so shapes stay the same; "bernoulli" draws each unit independently.
        leave: `fnmatch` patterns over the paths of sites that stay unchanged.
        always: thins a chain even if a step would take longer.
        undo: reverts the thinning of the model.
        seed: of the comparison.
        named: keyword arguments of the call.

    Returns: the thinning; printed, it lists what is thinned, and why the rest is not.

    Raises:
        TypeError: `model` is no module.
        ValueError: the model has no dropout that can be thinned, is thinned already (for `undo`: is not), or is bound; or
            `groups`, `count`, `always` or a pattern is invalid.
        RuntimeError: the model does not run with the example.

    Source: Graham, Reizenstein, Robinson 2015, arXiv:1502.02478.

    >>> model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))
    >>> print(thin(model, torch.randn(8, 64), always=True))
    ~ 2: 0 computes 128 of 256 units, which 3 reads; thinnet.nn.BatchwiseDropout(p=0.5, axis=-1, groups=1, count='fixed')
    >>> _ = thin(model, undo=True)
    >>> model[2]
    Dropout(p=0.5, inplace=False)
    """
    model = check_model("thin", model)
    held = [vars(module)[KEY] for module in model.modules() if KEY in vars(module)]
    if undo:
        if not held:
            raise ValueError("thin: model must be thinned to be undone; it is not. Call thinnet.thin(model, x) first.")
        for thinning in reversed(held):
            thinning.undo()
        return held[-1]
    if held:
        raise ValueError("thin: model must not be thinned yet; it is. Call thinnet.thin(model, undo=True) first.")
    check_settings("thin", groups, count)
    if type(always) is not bool:
        raise ValueError(
            f"thin: always must be True or False; got {always!r}. False leaves chains alone that would take longer."
        )
    check_unbound("thin", model)
    sites = [name for name, module in model.named_modules() if _is_site(module)]
    if not sites and not notes_on(model):
        step = "Put some in, thinnet.insert(model), or serve functions: thinnet.replace(model, functional=True, example=x)."
        raise ValueError(f"thin: model must contain dropout of units, channels or paths as a module; it has none. {step}")
    for pattern in leave:
        if not any(matches(name, pattern) for name in sites):
            refuse_unmatched("thin", pattern, sites, "a site")
    thinning = Thinning(unwrap(model), Settings(groups, count, always, seed), tuple(leave))
    vars(model)[KEY] = thinning
    if not example and not named:
        thinning.wait()
        return thinning
    try:
        thinning.find(lambda: model(*example, **named))
    except BaseException:
        vars(model).pop(KEY, None)
        raise
    return thinning


def _is_site(module: nn.Module) -> bool:
    """Returns whether a module drops units, samples of a branch, or tokens."""
    return axis_of(module) is not None or ends_branch(module) or drops_tokens(module)


def _all_pieces(
    model: nn.Module, call: Callable[[], Any], settings: Settings, leave: Callable[[str], bool]
) -> tuple[list[Piece], list[str]]:
    """Returns the parts that can be thinned, and notes on all other sites."""
    chains, notes = pieces(model, call, settings, leave)
    writes = [write for piece in chains for change in piece.changes for write in change.writes]
    layers = {write.slot.owner for write in writes if isinstance(write.slot, Entry) and write.slot.key == "forward"}
    sites = {model.get_submodule(piece.place) for piece in chains}
    behind, more = tokens(model, call, leave, settings.seed, layers)
    paths, others = branches(model, call, leave, settings.seed, sites, settings.groups)
    return [*chains, *behind, *paths], [*notes, *more, *others, *notes_on(model)]
