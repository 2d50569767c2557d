"""One training step of a model with example inputs, and the variants of the model that are compared."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from thinnet.inference.copies import sharing_copy
from thinnet.models.edit import replace, strip
from thinnet.models.optimize.optimize import optimize
from thinnet.models.thin.thin import thin
from thinnet.rng.binding import hooks_of, remove_hooks

AS_IT_IS, WITHOUT, OURS, FUSED, THINNED, COMPILED, OURS_COMPILED = (
    *("as it is", "without dropout", "thinnet", "fused", "thinned"),
    *("compiled", "thinnet, compiled"),
)

FEW = 2  # notes that the table shows one by one

Loss = Callable[[Any], Tensor]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Step:
    """A training step: zero_grad, forward, loss, backward and the optimiser.

    Args:
        args, kwargs: what the model is called with.
        loss: makes a scalar of the output.
        optimizer: of the parameters, which all variants share.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    loss: Loss
    optimizer: Optimizer | None

    def forward(self, model: nn.Module) -> Tensor:
        """Returns the loss."""
        return self.loss(model(*self.args, **self.kwargs))

    def __call__(self, model: nn.Module, device: torch.device) -> None:
        """Runs the step, and waits for a GPU."""
        model.zero_grad()
        self.forward(model).backward()
        if self.optimizer is not None:
            self.optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def loss_of(output: Any) -> Tensor:
    """Returns the loss of a model: a scalar output or `output.loss`, else the mean square of what it returns.

    >>> loss_of(torch.tensor([3.0, 4.0], requires_grad=True)).item()
    12.5
    """
    own = output if isinstance(output, Tensor) and output.ndim == 0 else getattr(output, "loss", None)
    if isinstance(own, Tensor):
        return own
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor) and leaf.requires_grad]
    if not leaves:
        raise ValueError("bench: model must return a tensor with gradient in training; it returns none. Give loss=.")
    return torch.stack([leaf.abs().square().mean() for leaf in leaves]).sum()


def unchanging(parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Returns AdamW with a learning rate of 0: its time is that of any step, and the parameters keep their values."""
    return torch.optim.AdamW(parameters, lr=0.0)


def variants(model: nn.Module, step: Step, compiled: bool) -> tuple[dict[str, nn.Module], list[str]]:
    """Returns copies of a model in training mode that share its parameters, by name, and notes on what is missing."""
    made, notes = {AS_IT_IS: unbound(model)}, list[str]()
    made[WITHOUT] = unbound(model)
    strip(made[WITHOUT])
    ours = unbound(model)
    edit = replace(ours, functional=True, example=_example(model, step))
    notes += edit.notes
    if edit:
        made[OURS] = ours
    else:
        notes.append(f"{OURS}: not measured, as there is nothing that thinnet.replace replaces")
    fused = unbound(ours)
    try:
        found = optimize(fused, *step.args, **step.kwargs)
    except (ValueError, RuntimeError) as error:
        notes.append(_missing(FUSED, error))
    else:
        notes += _left(FUSED, [note for note in found.notes if "is not fused" in note], "fused", "thinnet.optimize(model, x)")
        if found:
            made[FUSED] = fused
    thinned = unbound(ours)
    try:
        thinning = thin(thinned, *step.args, always=True, **step.kwargs)
    except (ValueError, RuntimeError) as error:
        notes.append(_missing(THINNED, error))
    else:
        left = [note for note in thinning.notes if "is not thinned" in note]
        notes += _left(THINNED, left, "thinned", "thinnet.thin(model, x)")
        if thinning.thinned:
            made[THINNED] = thinned
    if compiled:
        made[COMPILED] = torch.compile(unbound(model))  # type: ignore[assignment]
        if edit:
            made[OURS_COMPILED] = torch.compile(unbound(ours))  # type: ignore[assignment]
    return made, notes


def _missing(name: str, error: Exception) -> str:
    return f"{name}: not measured. {str(error).partition('. ')[0].removesuffix('.')}."


def _left(name: str, notes: list[str], done: str, call: str) -> list[str]:
    """Returns notes on the sites that stay as they are: a few one by one, many as a number."""
    more = f"{len(notes)} sites are not {done}; print({call}) says why"
    return [f"{name}: {note}" for note in (notes if len(notes) <= FEW else [more])]


def unbound(model: nn.Module) -> nn.Module:
    """Returns a copy in training mode that shares the parameters. Its masks follow the generator of PyTorch."""
    copied = sharing_copy("bench", model)
    for module, counter in [*hooks_of(copied)]:
        remove_hooks(module, counter)
    return copied.train()


def _example(model: nn.Module, step: Step) -> Any:
    """Returns the inputs as one value: a tuple, or a mapping where some are named."""
    if not step.kwargs:
        return step.args
    return dict(step.kwargs) if not step.args else signature(model.forward).bind(*step.args, **step.kwargs).arguments
