"""Sample ids reach the masks: any sampler, number of workers, collate function and kind of item."""

import pickle
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset, random_split

import thinnet
from thinnet.rng.sample_ids import KEY, collate, indexed, split

LENGTH = 37


def values() -> Tensor:
    return torch.arange(LENGTH).float() * 10


class Dicts(Dataset[Any]):
    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": torch.tensor([index, index]), "labels": index % 2}


class Batched(Dicts):
    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        return [self[index] for index in indices]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[float]:
        yield from values().tolist()


def name(item: float) -> int:
    return int(item) // 10


def take_all(items: list[Any]) -> list[Any]:
    return items


@pytest.mark.parametrize("workers", [0, 4])
@pytest.mark.parametrize("collated", ["default", "ours"])
def test_every_row_has_the_id_of_its_case(workers: int, collated: str) -> None:
    pairs = indexed(TensorDataset(values(), -values()))
    options: dict[str, Any] = {"persistent_workers": True} if workers else {}
    if collated == "ours":
        options["collate_fn"] = collate()
    for order in ({"shuffle": True}, {"sampler": SubsetRandomSampler([5, 3, 36, 5])}, {}):
        loader = DataLoader(pairs, batch_size=4, num_workers=workers, **order, **options)
        for _ in range(2):
            seen = []
            for batch in loader:
                ids, (positive, negative) = split(batch)
                assert ids.dtype == torch.int64
                assert torch.equal(positive, ids * 10.0) and torch.equal(negative, ids * -10.0)
                seen += ids.tolist()
            assert sorted(seen) == ([3, 5, 5, 36] if "sampler" in order else list(range(LENGTH)))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", [Dicts, Batched])
def test_items_that_are_dicts_and_batches_that_carry_their_ids(workers: int, kind: type[Dicts]) -> None:
    loader = DataLoader(indexed(kind()), batch_size=8, shuffle=True, num_workers=workers, collate_fn=collate(key=KEY))
    for batch in loader:
        assert set(batch) == {"input_ids", "labels", KEY}
        ids, plain = split(batch)
        assert set(plain) == {"input_ids", "labels"}
        assert torch.equal(plain["input_ids"][:, 0], ids) and torch.equal(plain["labels"], ids % 2)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_streams_have_numbers_or_keys(workers: int) -> None:
    for stream in (indexed(Stream(), shard=True), *([indexed(Stream())] if workers < 2 else [])):
        rows = [split(batch) for batch in DataLoader(stream, batch_size=5, num_workers=workers, collate_fn=collate())]
        assert sorted(torch.cat([ids for ids, _ in rows]).tolist()) == list(range(LENGTH))
        assert all(torch.equal(x, ids.double() * 10) for ids, x in rows)
    rows = [split(batch) for batch in DataLoader(indexed(Stream(), key=name), num_workers=workers)]
    assert all(torch.equal(x, ids.double() * 10) for ids, x in rows)
    assert len(rows) == LENGTH * max(1, workers)  # each worker gets the whole stream


def test_a_stream_of_many_workers_must_say_what_an_id_is() -> None:
    with pytest.raises(RuntimeError, match="with 2 workers must have key= or shard="):
        list(DataLoader(indexed(Stream()), num_workers=2))


def test_a_split_data_set_keeps_the_ids_of_the_whole() -> None:
    train, rest = random_split(indexed(TensorDataset(values())), [30, 7])
    seen = [split(batch) for part in (train, rest) for batch in DataLoader(part, batch_size=3)]
    assert all(torch.equal(x, ids * 10.0) for ids, (x,) in seen)
    assert sorted(torch.cat([ids for ids, _ in seen]).tolist()) == list(range(LENGTH))


def test_any_collate_function_and_indices() -> None:
    ids, items = collate(take_all)([(4, "four"), (2, "two")])
    assert ids.tolist() == [4, 2] and items == ["four", "two"]
    pairs = indexed(values())
    assert pairs[-1] == (LENGTH - 1, values()[-1]) and len(pairs) == LENGTH
    assert pickle.loads(pickle.dumps(indexed(Dicts())))[3][0] == 3
    assert indexed([30.0, 10.0], key=name)[0] == (3, 30.0)


def test_masks_follow_the_cases_through_any_loader() -> None:
    layer = thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(0).bind(layer)
    dropped: list[dict[int, list[bool]]] = []
    for workers, batch_size, shuffle in ((0, 37, False), (2, 5, True)):
        masks = {}
        for batch in DataLoader(indexed(values()), batch_size, shuffle, num_workers=workers):
            ids, x = split(batch)
            rng.at(0, ids)
            rows = (layer(torch.ones(len(x), 50)) == 0).tolist()
            masks |= dict(zip(ids.tolist(), rows, strict=True))
        dropped.append(masks)
    assert dropped[0] == dropped[1] and len(dropped[0]) == LENGTH


def test_what_is_no_data_set_and_has_no_ids_is_refused() -> None:
    with pytest.raises(TypeError, match=r"dataset must have \[\] or be iterable; got int"):
        indexed(3)
    with pytest.raises(TypeError, match="shard must be left out for a map-style data set"):
        indexed([1, 2], shard=True)
    with pytest.raises(TypeError, match="an index must be an integer; got 'a'"):
        indexed({"a": 1})["a"]
    for batch in ([torch.ones(3), torch.ones(3)], {"x": torch.ones(3)}, torch.ones(2)):
        with pytest.raises(ValueError, match=r"^split: batch must be \(ids, batch\) or a dict with 'sample_ids'; got"):
            split(batch)
