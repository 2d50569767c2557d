"""The invariants of embedding dropout: it equals a lookup in the masked table, which it never computes."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from assertions import assert_mean, assert_rate, assert_same_bits, assert_variance
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import thinnet
from thinnet.methods.tokens.embedding_dropout import EmbeddingDropout, definition, embedding_dropout
from thinnet.ops import reference
from thinnet.rng import rates

SETTINGS = [
    {},
    dict(padding_idx=2),
    dict(scale_grad_by_freq=True),
    dict(sparse=True),
    dict(max_norm=0.7, norm_type=1.0),
    dict(padding_idx=-1, sparse=True),
]


def kept_words(words: int, p: float, step: int) -> Tensor:
    """The mask of site "0" under seed 11, one value per word."""
    where = (
        torch.tensor(11),
        torch.tensor(step),
        torch.tensor(thinnet.rng.site_number("0")),
        torch.zeros(1, dtype=torch.int64),
    )
    return reference.unit_bits(*where, words)[0] >= rates.count(p)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_output_and_gradient_equal_a_lookup_in_the_masked_table(settings: dict, p: float) -> None:
    ids = torch.randint(20, (5, 7))
    bare = nn.Embedding(20, 6, **settings, dtype=torch.float64)
    model = nn.Sequential(EmbeddingDropout(copy.deepcopy(bare), p))
    thinnet.DropoutRNG(11).bind(model).at(4)
    kept = kept_words(20, p, 4)[:, None]
    scale = 65536 / (65536 - rates.count(p)) if p < 1 else 0.0
    bare(ids)  # renormalises rows if max_norm is set
    copied = F.embedding(ids, torch.where(kept, bare.weight * scale, 0))
    gathered = torch.where(kept[ids], bare(ids) * scale, 0)
    y = model(ids)
    torch.testing.assert_close(y, copied, rtol=1e-7, atol=0)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    (gathered * weight).sum().backward()
    ours, theirs = model[0].weight.grad, bare.weight.grad  # type: ignore[union-attr]
    assert ours is not None and theirs is not None and ours.is_sparse == theirs.is_sparse == settings.get("sparse", False)
    torch.testing.assert_close(*(grad.to_dense() for grad in (ours, theirs)), rtol=1e-7, atol=0)
    if not settings:
        (whole,) = torch.autograd.grad((copied * weight).sum(), bare.weight)
        torch.testing.assert_close(ours, whole, rtol=1e-7, atol=1e-12)


def test_it_equals_its_papers() -> None:
    ids, weight, p = torch.randint(20, (5, 7)), torch.randn(20, 6, dtype=torch.float64), 0.25
    model = nn.Sequential(EmbeddingDropout(nn.Embedding.from_pretrained(weight), p))
    thinnet.DropoutRNG(11).bind(model).at(4)
    rng = torch.where(kept_words(20, p, 4), 1.0, 0.0)
    torch.testing.assert_close(model(ids), definition(ids, weight, rng, p))


def test_rate_mean_and_variance() -> None:
    weight, p = torch.randn(40, 3, dtype=torch.float64), rates.count(0.2) / rates.RESOLUTION
    y = torch.stack([embedding_dropout(torch.arange(40), weight, 0.2, training=True) for _ in range(4000)])
    assert_rate(y[..., 0] == 0, p)
    assert_mean(y, weight, weight**2 * p / (1 - p))
    assert_variance(y, weight, weight**2 * p / (1 - p))


def test_a_word_is_dropped_everywhere_in_the_batch_or_nowhere() -> None:
    ids = torch.randint(50, (64, 32))
    dropped = (EmbeddingDropout(nn.Embedding(50, 4), 0.5)(ids) == 0).all(-1)
    by_word = [dropped[ids == word] for word in range(50)]
    assert all(bool(where.all() or not where.any()) for where in by_word)
    assert len({bool(where.any()) for where in by_word}) == 2


def test_addressed_masks_do_not_depend_on_the_batch() -> None:
    model, ids = nn.Sequential(EmbeddingDropout(nn.Embedding(50, 4), 0.5)), torch.randint(50, (8, 9))
    rng = thinnet.DropoutRNG(11).bind(model)
    whole = rng.at(3, torch.arange(8)) and model(ids)
    assert_same_bits(rng.at(3, torch.tensor([70, 80])) and model(ids[2:4]), whole[2:4])
    assert not torch.equal(rng.at(4) and model(ids), whole)


def test_eval_and_rate_zero_equal_the_plain_lookup() -> None:
    bare, ids = nn.Embedding(20, 6), torch.randint(20, (5, 7))
    assert_same_bits(EmbeddingDropout(bare, 0.4).eval()(ids), bare(ids))
    assert_same_bits(EmbeddingDropout(bare, 0.0)(ids), bare(ids))
    assert_same_bits(embedding_dropout(ids, bare.weight, 0.4, training=False), bare(ids))


def test_the_functional_form_draws_like_the_module() -> None:
    layer, ids = EmbeddingDropout(nn.Embedding(20, 6), 0.4), torch.randint(20, (5, 7))
    torch.manual_seed(3)
    first, second = layer(ids), layer(ids)
    assert not torch.equal(first, second)
    generator = torch.Generator().manual_seed(3)
    assert_same_bits(embedding_dropout(ids, layer.weight, 0.4, training=True, generator=generator), first)


def test_the_table_is_neither_copied_nor_written() -> None:
    made: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            made.extend(t.numel() for t in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(t, Tensor))
            return out

    layer, ids = EmbeddingDropout(nn.Embedding(1000, 64), 0.5), torch.randint(1000, (3, 5))
    before, version = layer.weight.detach().clone(), layer.weight._version
    with Sizes():
        layer(ids)
    assert max(made) <= 1000  # the mask
    assert layer.weight._version == version and torch.equal(layer.weight, before)


def test_dropped_values_do_not_leak() -> None:
    weight = torch.full((50, 4), torch.inf)
    y = embedding_dropout(torch.arange(50), weight, 0.5, training=True)
    assert bool((y.isinf() | (y == 0)).all()) and bool((y == 0).any())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_scale_is_exact_in_half_precision(dtype: torch.dtype) -> None:
    weight = torch.randn(500, 4).to(dtype)
    y = embedding_dropout(torch.arange(500), weight, 0.1, training=True)
    exact = (weight.double() * 65536 / (65536 - rates.count(0.1))).to(dtype)
    assert y.dtype == dtype and bool(((y == 0) | (y == exact)).all())


def test_checkpoints_equal_those_of_the_plain_embedding() -> None:
    bare = nn.Sequential(nn.Embedding(20, 6), nn.Linear(6, 20))
    ours = nn.Sequential(EmbeddingDropout(nn.Embedding(20, 6), 0.2), nn.Linear(6, 20))
    ours.load_state_dict(bare.state_dict())
    bare.load_state_dict(ours.state_dict())
    assert list(ours.state_dict()) == ["0.weight", "1.weight", "1.bias"]
    assert ours[0].num_embeddings == 20 and ours[0].embedding_dim == 6


def test_copies_drop_the_same() -> None:
    layer, ids = EmbeddingDropout(nn.Embedding(20, 6), 0.5), torch.randint(20, (5, 7))
    torch.manual_seed(1)
    expected = layer(ids)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(1)
        assert_same_bits(twin(ids), expected)


def test_one_graph_for_all_rates_and_steps() -> None:
    model, ids = nn.Sequential(EmbeddingDropout(nn.Embedding(20, 6), 0.5)), torch.randint(20, (5, 7))
    rng = thinnet.DropoutRNG(1).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(5):
        model[0].p = step / 5
        rng.at(step)
        torch.testing.assert_close(compiled(ids), model(ids))
    assert counter.frame_count == 1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^EmbeddingDropout: layer must be one of Embedding; got Linear"):
        EmbeddingDropout(nn.Linear(2, 2), 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^EmbeddingDropout: p must be"):
        EmbeddingDropout(nn.Embedding(2, 2), 1.5)
    with pytest.raises(ValueError, match=r"^embedding_dropout: p must be"):
        embedding_dropout(torch.arange(2), torch.ones(2, 2), -0.1, training=True)
