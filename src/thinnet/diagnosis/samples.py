"""A random sample of a loader, drawn with a seed: all measures use it, and nothing else stays in memory."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only


@dataclass(frozen=True)
class Samples:
    """Inputs and targets: `count` samples of the `of` in the loader. Axis 0 of each tensor counts them."""

    x: Any
    y: Any
    count: int
    of: int

    def take(self, ids: Tensor) -> "Samples":
        """Returns the samples at `ids`."""
        x, y = _rows((self.x, self.y), ids)
        return Samples(x, y, len(ids), self.of)

    def chunks(self, size: int) -> Iterator["Samples"]:
        """Yields the samples in order, `size` at a time."""
        for first in range(0, self.count, size):
            yield self.take(torch.arange(first, min(first + size, self.count)))

    def to(self, device: torch.device) -> "Samples":
        """Returns the samples on a device."""
        x, y = tree_map_only(Tensor, lambda leaf: leaf.to(device), (self.x, self.y))
        return Samples(x, y, self.count, self.of)


def draw(loader: Any, most: int, seed: int, argument: str = "loader") -> Samples:
    """Returns at most `most` samples of a loader, drawn uniformly in one pass over it.

    The loader is an iterable of (x, y) batches, or a pair of tensors; errors call it `argument`.

    >>> draw((torch.arange(10.0), torch.arange(10)), most=4, seed=0).count
    4
    """
    generator = torch.Generator().manual_seed(seed)
    kept: Any = None
    keys, total = torch.empty(0), 0
    for batch in _batches(loader, argument):
        x, y = _pair(batch, argument)
        size = _length(x, y, argument)
        total += size
        keys = torch.cat((keys, torch.rand(size, generator=generator)))
        best = keys.topk(min(most, len(keys)), largest=False).indices.sort().values
        if len(keys) == size or best[-1] >= len(keys) - size:
            kept = _joined(kept, (x, y), best, len(keys) - size, argument)
        keys = keys[best]
    if not total:
        raise ValueError(f"diagnose: {argument} must hold samples; got none. A generator can be read only once.")
    return Samples(kept[0], kept[1], len(keys), total)


def _batches(loader: Any, argument: str) -> Iterable[Any]:
    if isinstance(loader, tuple) and len(loader) == 2 and isinstance(loader[1], Tensor):
        return [loader]
    if isinstance(loader, Iterable) and not isinstance(loader, (Tensor, Mapping, str)):
        return loader
    kind = type(loader).__name__
    raise TypeError(f"diagnose: {argument} must be an iterable of (x, y) batches, or a pair of tensors; got {kind}.")


def _pair(batch: Any, argument: str) -> tuple[Any, Any]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping) and "labels" in batch:
        return {str(name): value for name, value in batch.items() if name != "labels"}, batch["labels"]
    kind = type(batch).__name__
    raise TypeError(f"diagnose: a batch of {argument} must be a pair (x, y), or a mapping with 'labels'; got {kind}.")


def _length(x: Any, y: Any, argument: str) -> int:
    sizes = {leaf.shape[0] if leaf.ndim else 0 for leaf in tree_leaves((x, y)) if isinstance(leaf, Tensor)}
    if len(sizes) != 1 or 0 in sizes:
        found = sorted(sizes)
        raise ValueError(f"diagnose: axis 0 of all tensors in a batch of {argument} must count the samples; got sizes {found}.")
    return sizes.pop()


def _rows(tree: Any, ids: Tensor) -> Any:
    return tree_map_only(Tensor, lambda leaf: leaf[ids.to(leaf.device)], tree)


def _joined(kept: Any, batch: Any, best: Tensor, before: int, argument: str) -> Any:
    """Returns the samples at `best` of the `before` kept ones followed by the batch."""
    new = _rows(batch, best[best >= before] - before)
    if not before:
        return new
    old = [leaf for leaf in tree_leaves(_rows(kept, best[best < before])) if isinstance(leaf, Tensor)]
    fresh = [leaf for leaf in tree_leaves(new) if isinstance(leaf, Tensor)]
    if [leaf.shape[1:] for leaf in old] != [leaf.shape[1:] for leaf in fresh]:
        shapes = [tuple(leaf.shape[1:]) for leaf in (*old, *fresh)]
        raise ValueError(f"diagnose: samples of {argument} must have one shape; got {shapes}. Pad them to one length.")
    leaves = iter([torch.cat(pair) for pair in zip(old, fresh, strict=True)])
    return tree_map_only(Tensor, lambda leaf: next(leaves), new)
