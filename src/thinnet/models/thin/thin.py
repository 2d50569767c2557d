"""Makes a model leave out the work that dropout drops: the step trains the thinned network, and computes no other."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from thinnet.methods.elementwise.batchwise_dropout import check_settings
from thinnet.methods.elementwise.kept import Count
from thinnet.models.edit.checks import check_unbound, checked, matches, refuse_unmatched
from thinnet.models.rewrite.edits import Edit, made
from thinnet.models.thin.already import already
from thinnet.models.thin.kinds import all_pieces, is_site
from thinnet.models.thin.proof import disproved
from thinnet.rng.names import unwrap

KEY = "_thinning"


class Thinning:
    """What was thinned in a model. `print(thinning)` says which chains are, which are not and why; `undo()` takes it back.

    Args:
        model: the model.
        settings: groups, count, patterns to leave, seed.
    """

    def __init__(self, model: nn.Module, settings: tuple[int, Count, Sequence[str], int]) -> None:
        self.model, self.settings = model, settings
        self.edit: Edit | None = None
        self._waiting: Any = None

    @property
    def thinned(self) -> tuple[str, ...]:
        """The paths of the sites whose dropped work is not done."""
        places = [change.place for change in self.edit or ()]
        return tuple(dict.fromkeys(places))

    @property
    def notes(self) -> tuple[str, ...]:
        """Which sites are not thinned, and why."""
        return () if self.edit is None else self.edit.notes

    def __str__(self) -> str:
        return "# waits for the first batch in training mode" if self.edit is None else str(self.edit)

    __repr__ = __str__

    def find(self, call: Callable[[], Any]) -> None:
        """Finds the chains in a call of the model, makes the changes, and proves them."""
        self._stop_waiting()
        groups, count, patterns, seed = self.settings
        wrong: dict[str, str] = {}

        def leave(name: str) -> bool:
            return name in wrong or any(matches(name, pattern) for pattern in patterns)

        while True:
            found, notes = all_pieces(self.model, call, groups, count, leave, seed)
            notes = [note for note in notes if note.split(" is not thinned")[0] not in wrong]
            notes += [f"{place} is not thinned: {why}" for place, why in wrong.items()]
            edit = made(self.model, [change for piece in found for change in piece.changes], notes)
            try:
                failed = disproved(self.model, call, found, seed) if found else {}
            except BaseException:
                edit.undo()
                raise
            if not failed:
                self.edit = edit
                return
            edit.undo()
            wrong |= failed

    def wait(self) -> None:
        """Finds the chains in the first call of the model in training mode."""
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
        """Puts the model back: the very objects that were there; parameters keep the values that they have now.

        Raises: ValueError where the model was changed at these places in the meantime.
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
    undo: bool = False,
    seed: int = 0,
    **named: Any,
) -> Thinning:
    """Leaves out the work that dropout drops: layers run, forward and backward, on the units that a step keeps.

    y = W2[:, k] f(W1[k] x + b1[k]) / (1 - p) + b2, with k the kept units.

    A chain is thinned where layers (Linear, Conv1d, Conv2d, Conv3d) make units, only such things follow as look at each unit by
    itself (activations, pooling and batch normalisation of channels), dropout of units or channels comes, and layers read
    them. The samples of a group then share their coins: the site becomes a `thinnet.nn.BatchwiseDropout`, another method than
    dropout with coins for each sample, at the same rate. What is computed is that masked network, to rounding: each chain is
    compared with it on the example, forward and backward, and one that differs is left as it was.

    Parameters, the keys of the `state_dict`, results in eval and what the optimiser sees stay. A dropped unit's weights get
    zero gradient; momentum and weight decay move them all the same, as they do with any dropout. Activations of dropped units
    are never allocated.

    Args:
        model: any module whose coins are not bound yet. Bind them afterwards: a group has the name of its first sample.
        example: what it is called with. Without, the first batch in training mode is the example.
        groups: how many contiguous groups a batch is cut into, each with coins of its own: more thinned networks a step, and
            smaller matrices. One is fastest.
        count: "fixed" keeps exactly K of n units, in shapes that stay the same; "bernoulli" tosses each unit by itself.
        leave: patterns over the names of sites that stay as they are.
        undo: takes back what was thinned in the model.
        seed: of the comparison.
        named: keyword arguments of the call.

    Returns: what was thinned; printed, it says so and why the rest was not.

    Raises:
        TypeError: `model` is no module.
        ValueError: it has no dropout that can be thinned, is thinned already or, for `undo`, is not, its coins are bound, or
            `groups`, `count` or a pattern fits nothing.
        RuntimeError: it does not run with the example.

    Source: Graham, Reizenstein, Robinson 2015, arXiv:1502.02478.

    >>> model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 10))
    >>> print(thin(model, torch.randn(8, 64)))
    ~ 2: 0 makes 128 of 256 units, which 3 reads; thinnet.nn.BatchwiseDropout(p=0.5, axis=-1, groups=1, count='fixed')
    >>> _ = thin(model, undo=True)
    >>> model[2]
    Dropout(p=0.5, inplace=False)
    """
    model = checked("thin", model)
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
    check_unbound("thin", model)
    sites = [name for name, module in model.named_modules() if is_site(module)]
    if not sites and not already(model):
        step = "Put some in, thinnet.insert(model), or serve functions: thinnet.replace(model, functional=True, example=x)."
        raise ValueError(f"thin: model must hold dropout of units, channels or paths as a module; it holds none. {step}")
    for pattern in leave:
        if not any(matches(name, pattern) for name in sites):
            refuse_unmatched("thin", pattern, sites, "a site")
    thinning = Thinning(unwrap(model), (groups, count, tuple(leave), seed))
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
