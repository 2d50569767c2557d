"""The invariants of Cutout, which has a side instead of a rate."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_keeps_nothing, assert_mean, assert_rate, assert_same_bits, assert_variance

import thinnet
from thinnet.methods.spatial.cutout import FACTS, Cutout, cut_share, cutout, expected_drop
from thinnet.ops import reference

SHAPES = [(2, 9, 12), (1, 5, 4), (3, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [1, 3, 4, 7, 40])
def test_the_expected_share_is_exact(shape: tuple[int, ...], size: int) -> None:
    _, height, width = shape
    cut = torch.zeros(height, width)
    for row in range(height):
        for column in range(width):
            u = torch.tensor([[(row + 0.5) / height, (column + 0.5) / width]])
            cut += FACTS.definition(torch.ones(1, 1, height, width), u, size)[0, 0] == 0  # type: ignore[misc]
    exact = torch.outer(cut_share(height, size), cut_share(width, size))
    torch.testing.assert_close((cut / height / width).double(), exact, rtol=1e-6, atol=1e-6)
    assert expected_drop(shape, size) == pytest.approx(float(exact.mean()), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [3, 4])
def test_mean_and_variance_are_the_declared_ones(shape: tuple[int, ...], size: int) -> None:
    x = torch.randn(shape)
    y = Cutout(size)(x.expand(20_000, *shape)).double()
    mean, variance = FACTS.mean(x.double(), size), FACTS.variance(x.double(), size)  # type: ignore[misc]
    assert_mean(y, mean, variance)
    assert_variance(y, mean, variance)


def test_every_pixel_is_equally_likely_to_be_the_centre() -> None:
    cut = cutout(torch.ones(60_000, 1, 3, 5), 1, training=True)[:, 0] == 0
    for row in range(3):
        for column in range(5):
            assert_rate(cut[:, row, column], 1 / 15)


def test_output_and_gradient_equal_the_paper() -> None:
    ids, x = torch.arange(6) * 3 + 5, torch.randn(6, 3, 11, 8, dtype=torch.float64, requires_grad=True)
    model = torch.nn.Sequential(Cutout(4))
    thinnet.DropoutRNG(11).bind(model).at(7, ids)
    words = reference.noise(torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), ids, 2)
    ours, theirs = model(x), FACTS.definition(x, (1 + reference.uniform(words)) / 2, 4)  # type: ignore[misc]
    assert_same_bits(ours, theirs)
    weight = torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (ours, theirs)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_type_shape_and_format_are_kept(dtype: torch.dtype) -> None:
    x = torch.ones(4, 3, 8, 9, dtype=dtype).to(memory_format=torch.channels_last)
    y = Cutout(3)(x)
    assert (y.dtype, y.shape, y.stride()) == (x.dtype, x.shape, x.stride())
    assert bool(((y == 0).sum(dim=(1, 2, 3)) > 0).all())


def test_eval_is_the_identity() -> None:
    x = torch.randn(2, 3, 8, 8)
    assert Cutout(3).eval()(x) is x and cutout(x, 3, training=False) is x


def test_the_functional_form_draws_like_the_module() -> None:
    x, layer = torch.randn(20, 3, 8, 8), Cutout(3)
    torch.manual_seed(3)
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second)
    assert_same_bits(cutout(x, 3, training=True, generator=torch.Generator().manual_seed(3)), first)


def test_samples_keep_their_squares_in_any_batch_order() -> None:
    model, x, ids = torch.nn.Sequential(Cutout(3)), torch.randn(12, 2, 8, 8), torch.randperm(1000)[:12]
    rng = thinnet.DropoutRNG(1).bind(model)
    whole = rng.at(3, ids) and model(x)
    order = torch.randperm(12)
    assert_same_bits(rng.at(3, ids[order]) and model(x[order]), whole[order])
    assert_same_bits(rng.at(3, ids[4:5]) and model(x[4:5]), whole[4:5])
    assert not torch.equal(rng.at(4, ids) and model(x), whole)


def test_cut_values_do_not_leak_and_little_is_stored() -> None:
    y = Cutout(4)(torch.full((8, 3, 8, 8), torch.nan))
    assert bool((y.isnan() | (y == 0)).all()) and bool((y == 0).any())
    x = torch.randn(8, 3, 8, 8, requires_grad=True)
    assert_keeps_nothing(lambda: Cutout(4)(x), x, most=8 * 8 * 8)


def test_it_compiles_to_one_graph() -> None:
    model, x = torch.nn.Sequential(Cutout(3)), torch.randn(4, 2, 8, 8)
    rng = thinnet.DropoutRNG(1).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(3):
        rng.at(step, torch.randperm(100)[:4])
        assert_same_bits(compiled(x), model(x))
    assert counter.frame_count == 1


def test_copies_cut_the_same() -> None:
    layer, x = Cutout(3), torch.randn(4, 2, 8, 8)
    assert not layer.state_dict() and layer.p is None
    torch.manual_seed(1)
    expected = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(1)
        assert_same_bits(twin(x), expected)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, None, float("nan")])
def test_a_bad_side_is_refused(size: object) -> None:
    with pytest.raises(ValueError, match=r"^Cutout: size must be a positive integer; got"):
        Cutout(size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^cutout: size must be a positive integer; got"):
        cutout(torch.ones(1, 1, 4, 4), size, training=False)  # type: ignore[arg-type]


def test_other_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^Cutout: x must be \(N, C, H, W\); got shape \(3, 8, 8\)"):
        Cutout(3)(torch.ones(3, 8, 8))
    with pytest.raises(TypeError, match=r"Call x\.float\(\) first"):
        cutout(torch.ones(1, 3, 8, 8, dtype=torch.uint8), 3, training=True)
