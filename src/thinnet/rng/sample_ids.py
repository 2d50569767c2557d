"""The sample id of each row of a batch: its place in the data set, for any sampler, number of workers and split."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate, get_worker_info

KEY = "sample_ids"


class Indexed(Dataset[Any]):
    """A map-style data set whose items come as `(id, item)`; made by `indexed`."""

    def __init__(self, dataset: Any, key: Callable[[Any], int] | None = None) -> None:
        self.dataset, self.key = dataset, key

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Any]:
        return self._named(index, self.dataset[index])

    def __getitems__(self, indices: list[int]) -> list[tuple[int, Any]]:
        """Fetches a batch at once, if the data set can."""
        fetch = getattr(self.dataset, "__getitems__", None)
        items = fetch(indices) if callable(fetch) else [self.dataset[index] for index in indices]
        return [self._named(index, item) for index, item in zip(indices, items, strict=True)]  # type: ignore[arg-type]

    def _named(self, index: int, item: Any) -> tuple[int, Any]:
        if self.key is not None:
            return int(self.key(item)), item
        try:
            number = int(index)
        except (TypeError, ValueError):
            raise TypeError(f"indexed: an index must be an integer; got {index!r}. Give key=, the id of an item.") from None
        return number if number >= 0 else number + len(self), item


class IndexedStream(IterableDataset[Any]):
    """An iterable data set whose items come as `(id, item)`; made by `indexed`."""

    def __init__(self, dataset: Any, key: Callable[[Any], int] | None = None, shard: bool = False) -> None:
        self.dataset, self.key, self.shard = dataset, key, shard

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        worker = get_worker_info()
        if self.key is not None:
            yield from ((int(self.key(item)), item) for item in self.dataset)
        elif worker is None or worker.num_workers == 1:
            yield from enumerate(self.dataset)
        elif self.shard:
            yield from (pair for pair in enumerate(self.dataset) if pair[0] % worker.num_workers == worker.id)
        else:
            raise RuntimeError(
                f"indexed: an iterable data set with {worker.num_workers} workers must have key= or shard=; got neither."
                " Give key=, the id of an item, or shard=True: each worker takes its part of the whole stream."
            )


def indexed(dataset: Any, *, key: Callable[[Any], int] | None = None, shard: bool = False) -> Indexed | IndexedStream:
    """Wraps a data set so that its items come as `(id, item)`.

    The id is the index of the item, or its position in the stream. Wrap a data set before you split it: a part counts anew.

    Args:
        dataset: map-style (`len` and `[]`) or iterable.
        key: returns the id of an item, 0 .. 2^32 - 1; the index if left out.
        shard: each worker takes its part of an iterable data set that gives every worker the whole stream.

    Raises:
        TypeError: `dataset` is no data set, or is map-style with `shard`.

    >>> indexed(["a", "b"])[-1]
    (1, 'b')
    """
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        if not hasattr(dataset, "__iter__"):
            raise TypeError(f"indexed: dataset must have [] or be iterable; got {type(dataset).__name__}.")
        return IndexedStream(dataset, key, shard)
    if shard:
        raise TypeError("indexed: shard must be left out for a map-style data set; got True. Its sampler shares it out.")
    return Indexed(dataset, key)


class Collate:
    """Collates `(id, item)` pairs with any collate function for plain items; made by `collate`."""

    def __init__(self, function: Callable[[list[Any]], Any], key: str | None) -> None:
        self.function, self.key = function, key

    def __call__(self, pairs: list[tuple[int, Any]]) -> Any:
        ids, batch = torch.tensor([pair[0] for pair in pairs], dtype=torch.int64), self.function([pair[1] for pair in pairs])
        return (ids, batch) if self.key is None else {**batch, self.key: ids}


def collate(function: Callable[[list[Any]], Any] | None = None, *, key: str | None = None) -> Collate:
    """Returns the `collate_fn` of a DataLoader over an indexed data set: batches are `(ids, batch)`.

    Args:
        function: makes a batch of plain items; PyTorch's `default_collate` if left out.
        key: puts the ids under this name into the batch, which must be a dict; `KEY` for Hugging Face's Trainer.

    >>> collate()([(7, 1.0), (3, 2.0)])
    (tensor([7, 3]), tensor([1., 2.], dtype=torch.float64))
    """
    return Collate(default_collate if function is None else function, key)


def split(batch: Any, *, key: str = KEY) -> tuple[Tensor, Any]:
    """Returns ids and plain batch of a batch of an indexed data set.

    Args:
        batch: `(ids, batch)`, or a dict with the ids under `key`.
        key: as in `collate`.

    Raises:
        ValueError: `batch` has no ids.

    >>> split({"x": 1.0, "sample_ids": torch.tensor([4])})
    (tensor([4]), {'x': 1.0})
    """
    if isinstance(batch, Mapping) and key in batch:
        return batch[key], {name: value for name, value in batch.items() if name != key}
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if pair and isinstance(batch[0], Tensor) and batch[0].dtype == torch.int64:
        return batch[0], batch[1]
    raise ValueError(
        f"split: batch must be (ids, batch) or a dict with {key!r}; got {type(batch).__name__}. Use indexed first."
    )
