"""Computes Monte-Carlo draws: the part before the first site once, the rest as one enlarged batch, or draw by draw."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from thinnet.inference.copies import sharing_copy
from thinnet.inference.mode.addressed import Addressed
from thinnet.inference.mode.switches import Switches, count_rows, few_rows, take_rows
from thinnet.inference.monte_carlo.outputs import Choice, chosen
from thinnet.models.state import State, preserve_state, seed_all
from thinnet.report.progress import Progress, progressing
from thinnet.rng.calls import mix

MEMORY = 1 << 24  # bytes of the largest tensor of an enlarged batch: larger ones leave the caches and are slower
Tensors = tuple[Tensor, ...]


class Drawing:
    """The draws of one model for one input; with `two`, the model returns a mean and the log of a variance."""

    def __init__(self, model: nn.Module, x: Any, found: Switches, seed: int, output: Choice, two: bool) -> None:
        self.served = Addressed(sharing_copy("sample", model), seed, found.pooled)
        self.x, self.found, self.seed, self.output, self.two = x, found, seed, output, two
        self.rows = count_rows(x)
        self.notes: list[str] = []
        self.independent = True
        self.state: State | None = None  # a forward pass may write into the parameters, which are those of the model
        self.vectorised = not found.unaddressed

    @property
    def addressed(self) -> bool:
        """Whether a draw of a sample is the same in any batch."""
        return not self.found.unaddressed and not self._pooled and self.independent

    @property
    def _pooled(self) -> list[str]:
        """The paths of the sites where axis 0 does not count the samples."""
        return sorted(self.found.pooled | self.served.context.misfits.keys())

    def run(self, n: int, ids: Tensor, batch_size: int | None, shown: bool | None) -> tuple[Tensors, tuple[str, ...]]:
        """Returns the draws `(n, B, ...)` and notes on what limits them."""
        bar = progressing("draws", n * self.rows, shown=shown)
        with torch.no_grad(), preserve_state(self.served.model, values=self.found.writes) as state, bar as progress:
            self.state = state
            self.independent = self.rows == 1 or self._rows_are_independent()
            self._restore()
            self.served.switch(self.found.paths)
            draws = self._in_parts(n, ids, batch_size, progress)
        return draws, (*self._notes(), *self.notes)

    def _notes(self) -> list[str]:
        notes = [f"masks without an address, drawn from a seeded generator: {place}" for place in self.found.unaddressed]
        notes += [f"axis 0 does not count the samples at {path or 'the model'}" for path in self._pooled]
        return notes + ([] if self.independent else ["samples depend on one another: a draw of one depends on its batch"])

    def _rows_are_independent(self) -> bool:
        """Compares the last of a few samples with the same sample alone; dropout is off here."""
        self.served.switch(frozenset(), sites=False)
        few = few_rows(self.x)
        count = count_rows(few)
        try:
            outs = [
                self._run(each, torch.tensor(0), torch.arange(count_rows(each))) for each in (few, take_rows(few, [count - 1]))
            ]
        except Exception:  # the model does not run on some of the rows
            return False
        together, alone = (chosen(out, self.output, self.two) for out in outs)
        return all(_close(one[-1:], other) for one, other in zip(together, alone, strict=True))

    def _in_parts(self, n: int, ids: Tensor, batch_size: int | None, progress: Progress) -> Tensors:
        most = batch_size or max(n, int(MEMORY / max(1.0, self.found.bytes)))
        size = min(self.rows, max(1, most // n)) if self.independent else self.rows
        parts: list[Tensors] = []
        for first in range(0, self.rows, size):
            part = slice(first, first + size)
            x = take_rows(self.x, part) if size < self.rows else self.x
            parts.append(self._drawn(x, n, ids[part], max(1, most // size), progress))
        if len({tuple(each.shape[2:] for each in part) for part in parts}) > 1:  # as where a batch is padded to its longest
            self.independent = False
            return self._in_parts(n, ids, batch_size, progress)
        return _joined(parts, 1)

    def _drawn(self, x: Any, n: int, ids: Tensor, at_once: int, progress: Progress) -> Tensors:
        parts: list[Tensors] = []
        for steps in torch.arange(n).split(at_once):
            parts.append(self._at_once(x, steps, ids))
            progress.advance(len(steps) * len(ids))
        return _joined(parts, 0)

    def _at_once(self, x: Any, steps: Tensor, ids: Tensor) -> Tensors:
        if self.vectorised and len(steps) > 1:
            try:
                return self._restored(torch.func.vmap(lambda step: self._call(x, step, ids), randomness="error")(steps))
            except Exception as error:  # an error of the model itself comes up again below
                self.vectorised = False
                self._restore()
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                self.notes.append(f"draws ran one by one: {reason[:120]}")
        draws = [self._one(x, step, ids) for step in steps]
        return tuple(torch.stack(each) for each in _of_one_shape(draws))

    def _one(self, x: Any, step: Tensor, ids: Tensor) -> Tensors:
        if self.found.unaddressed:
            seed_all((self.seed ^ mix(int(step) + 1)) & ((1 << 63) - 1))
        return self._restored(self._call(x, step, ids))

    def _restored(self, out: Tensors) -> Tensors:
        """Returns the output of a pass, after restoring the weights that it has written to."""
        if self.found.writes:
            out = tuple(each.clone() for each in out)  # it may be a view of a weight
        self._restore()
        return out

    def _restore(self) -> None:
        if self.found.writes and self.state is not None:
            self.state.restore_tensors()

    def _call(self, x: Any, step: Tensor, ids: Tensor) -> Tensors:
        return chosen(self._run(x, step, ids), self.output, self.two)

    def _run(self, x: Any, step: Tensor, ids: Tensor) -> Any:
        copied = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, x)
        return self.served.call(copied, step, ids)


def _joined(parts: list[Tensors], axis: int) -> Tensors:
    return parts[0] if len(parts) == 1 else tuple(torch.cat(each, axis) for each in _of_one_shape(parts, axis))


def _of_one_shape(parts: list[Tensors], axis: int | None = None) -> Iterator[Tensors]:
    """Yields the parts of each tensor; raises a ValueError where their shapes differ beside the axis that joins them."""
    for each in zip(*parts, strict=True):
        shapes = [tuple(-1 if place == axis else size for place, size in enumerate(part.shape)) for part in each]
        other = next((part for part, shape in zip(each, shapes, strict=True) if shape != shapes[0]), None)
        if other is not None:
            rule = "sample: the output must have one shape in all draws"
            step = "Select or make a tensor of one shape with output="
            raise ValueError(f"{rule}; got {tuple(each[0].shape)} and {tuple(other.shape)}. {step}.")
        yield each


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    limit = 64 * torch.finfo(one.dtype).eps
    largest = float(one.nan_to_num(0.0, 0.0, 0.0).abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=limit, atol=limit * largest, equal_nan=True)
