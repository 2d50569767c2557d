"""The invariants of word dropout, which maps integers to integers."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_rate
from torch import nn

import thinnet
from thinnet.methods.tokens.word_dropout import WordDropout, definition, word_dropout
from thinnet.ops import reference
from thinnet.rng import rates


@pytest.mark.parametrize("p", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_ids_are_replaced_at_the_rate(p: float, dtype: torch.dtype) -> None:
    ids = torch.randint(5, 100, (300, 200), dtype=dtype)
    y = WordDropout(p, fill=3)(ids)
    assert y.dtype == dtype and bool(((y == 3) | (y == ids)).all())
    assert_rate(y == 3, rates.count(p) / rates.RESOLUTION)


def test_special_ids_stay() -> None:
    ids = torch.randint(0, 10, (300, 50))
    y = WordDropout(0.5, fill=3)(ids, ids < 3)
    assert torch.equal(y[ids < 3], ids[ids < 3])
    assert_rate(y[ids > 3] == 3, 0.5)
    assert torch.equal(word_dropout(ids, 1.0, fill=3, keep=torch.arange(50) == 0, training=True)[:, 0], ids[:, 0])


def test_it_equals_its_paper() -> None:
    ids, samples = torch.randint(5, 100, (6, 9)), torch.arange(6) * 3 + 5
    model = nn.Sequential(WordDropout(0.3, fill=1))
    thinnet.DropoutRNG(11).bind(model).at(7, samples)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), samples
    assert torch.equal(model(ids), definition(ids, reference.unit_bits(*where, 9), rates.count(0.3), 1))


def test_eval_and_rate_zero_are_the_identity() -> None:
    ids = torch.randint(5, 100, (6, 9))
    assert WordDropout(0.5, fill=1).eval()(ids, ids < 7) is ids
    assert word_dropout(ids, 0.5, fill=1, training=False) is ids
    assert torch.equal(WordDropout(0.0, fill=1)(ids), ids)


def test_the_functional_form_draws_like_the_module() -> None:
    ids, layer = torch.randint(5, 100, (6, 9)), WordDropout(0.5, fill=1)
    torch.manual_seed(3)
    first, second = layer(ids), layer(ids)
    assert not torch.equal(first, second)
    assert torch.equal(word_dropout(ids, 0.5, fill=1, training=True, generator=torch.Generator().manual_seed(3)), first)


def test_samples_keep_their_masks_in_any_batch_order() -> None:
    model, ids, samples = nn.Sequential(WordDropout(0.5, fill=1)), torch.randint(5, 100, (12, 9)), torch.randperm(1000)[:12]
    rng = thinnet.DropoutRNG(11).bind(model)
    whole, order = rng.at(3, samples) and model(ids), torch.randperm(12)
    assert torch.equal(rng.at(3, samples[order]) and model(ids[order]), whole[order])
    assert torch.equal(rng.at(3, samples[5:6]) and model(ids[5:6]), whole[5:6])


def test_one_graph_for_all_rates_and_steps() -> None:
    model, ids = nn.Sequential(WordDropout(0.5, fill=1)), torch.randint(5, 100, (4, 9))
    rng = thinnet.DropoutRNG(11).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(4):
        model[0].p = step / 4
        rng.at(step)
        assert torch.equal(compiled(ids), model(ids))
    assert counter.frame_count == 1


def test_copies_drop_the_same() -> None:
    layer, ids = WordDropout(0.5, fill=1), torch.randint(5, 100, (4, 9))
    assert not layer.state_dict()
    torch.manual_seed(1)
    expected = layer(ids)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(1)
        assert torch.equal(twin(ids), expected)


def test_bad_arguments_are_refused() -> None:
    ids = torch.arange(4)
    for fill in (None, 1.0, True, "unk"):
        with pytest.raises(ValueError, match=r"^WordDropout: fill must be an integer; got"):
            WordDropout(0.1, fill=fill)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^word_dropout: p must be"):
        word_dropout(ids, 1.5, fill=1, training=True)
    with pytest.raises(TypeError, match=r"^word_dropout: ids must be integers; got torch\.float32\. Use token_dropout"):
        word_dropout(ids.float(), 0.5, fill=1, training=True)
    with pytest.raises(TypeError, match=r"^WordDropout: keep must be a bool tensor"):
        WordDropout(0.5, fill=1)(ids, ids)
