"""Fused attention: every path equals the reference, and the mask of a weight depends on its address alone."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from test_bits import MASK, PATHS, bits, philox
from torch import Tensor, nn

import thinnet
from thinnet.functional import attention
from thinnet.ops.attention import attention as op
from thinnet.ops.attention.settings import Settings

COMPILED = [path for path in PATHS if path != "reference"]
SEED, ADDRESS = torch.tensor(-77), {"step": torch.tensor(5), "site": torch.tensor(2**32 - 5)}


def rate(count: int) -> Tensor:
    return torch.tensor(count, dtype=torch.int32)


def inputs(shape: tuple[int, ...] = (2, 4, 2, 37, 45, 16, 8), dtype: torch.dtype = torch.float32, rows_first: bool = False):
    """q, k and v for (batch, heads, key heads, queries, keys, width, width of values)."""
    batch, heads, key_heads, queries, keys, width, values = shape
    sizes = (heads, queries, width), (key_heads, keys, width), (key_heads, keys, values)
    if rows_first:
        made = [torch.randn(batch, rows, n, each, dtype=dtype).transpose(1, 2) for n, rows, each in sizes]
    else:
        made = [torch.randn(batch, *size, dtype=dtype) for size in sizes]
    return [x.requires_grad_() for x in made]


CASES = {
    "plain": ({}, {}),
    "bfloat16": ({"dtype": torch.bfloat16}, {}),
    "float16": ({"dtype": torch.float16}, {}),
    "rows first": ({"rows_first": True}, {"samples": torch.tensor([9])}),
    "several strips and chunks": ({"shape": (1, 2, 1, 200, 790, 64, 64)}, {}),
    "odd widths": ({"shape": (2, 1, 1, 100, 400, 80, 40)}, {"window": (None, 0)}),
    "window": (
        {"shape": (2, 1, 1, 400, 420, 32, 32)},
        {"window": (30, 10), "first_query": torch.tensor([3, -20]), "first_key": 7},
    ),
    "one weight": ({"shape": (1, 1, 1, 1, 1, 3, 5)}, {}),
    "no keys": ({"shape": (1, 1, 1, 3, 0, 4, 4)}, {}),
    "columns": ({}, {"renormalised": True, "columns": True}),
    "renormalised": ({}, {"renormalised": True, "window": (None, 0)}),
    "heads": ({}, {"head_scale": torch.tensor([[1.0, 0, 2, 0.5], [0, 0, 1, 1]])}),
    "chosen": ({}, {"heads": torch.tensor([7, 3, 9, 1]), "samples": torch.tensor([9, 3])}),
}
PACKED = {"query_starts": torch.tensor([0, 10, 10, 37]), "key_starts": torch.tensor([0, 5, 15, 45])}
CASES["packed"] = {"shape": (1, 4, 2, 37, 45, 16, 8)}, {**PACKED, "window": (None, 0), "samples": torch.tensor([4, 8, 1])}


def both(path: str, x: list[Tensor], count: int, **options) -> list[tuple[Tensor, ...]]:
    """The output and the gradients by a kernel, and by the reference."""
    found = []
    for backend in (path, "reference"):
        y, lse = op(*x[:3], rate(count), SEED, backend=backend, **ADDRESS, **options)
        torch.manual_seed(1)
        found.append((y, *torch.autograd.grad(y, x, torch.randn(y.shape, dtype=y.dtype)), lse.detach()))
    return found


def assert_agrees(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...], dtype: torch.dtype = torch.float32) -> None:
    least = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=least, atol=least)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("path", COMPILED)
def test_every_path_equals_the_reference(path: str, name: str) -> None:
    given, options = CASES[name]
    x = inputs(**given)
    for count in (0, 20000, 60000):
        assert_agrees(*both(path, x, count, **options), dtype=x[0].dtype)


@pytest.mark.parametrize("path", COMPILED)
def test_masks_and_biases_equal_the_reference(path: str) -> None:
    x = inputs((2, 4, 2, 130, 450, 16, 8))
    allowed = torch.rand(2, 1, 130, 450) > 0.4
    allowed[0, 0, 3] = False
    bias = torch.randn(1, 4, 130, 450, requires_grad=True)
    for mask, renormalised in itertools.product((allowed, torch.randn(130, 450).bfloat16(), bias.detach()), (False, True)):
        assert_agrees(*both(path, x, 30000, mask=mask, renormalised=renormalised))
    found = [op(*x, rate(30000), SEED, mask=bias, backend=backend)[0].square().sum() for backend in (path, "reference")]
    assert_agrees(*(torch.autograd.grad(y, [*x, bias]) for y in found))


@pytest.mark.parametrize("path", COMPILED)
def test_a_query_that_would_lose_all_keys_that_a_mask_leaves_it_loses_none(path: str) -> None:
    x = inputs((1, 2, 1, 130, 450, 16, 8))
    allowed = torch.zeros(1, 1, 130, 450, dtype=torch.bool)
    allowed[..., 400], allowed[..., 7] = True, True
    logits = torch.zeros(130, 450).where(allowed, -torch.inf)
    for mask in (allowed, logits):
        assert_agrees(*both(path, x, 45000, mask=mask, renormalised=True))


@pytest.mark.parametrize("path", COMPILED)
def test_every_number_is_written(path: str) -> None:
    """Memory that nobody has written is NaN here."""
    torch.use_deterministic_algorithms(True)
    try:
        for name in ("plain", "heads", "no keys", "packed", "window"):
            given, options = CASES[name]
            x = inputs(**given)
            assert_agrees(*both(path, x, 20000, **options))
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_that_share_a_head_agree(threads: int) -> None:
    x, before = inputs((1, 1, 1, 300, 400, 32, 32)), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_agrees(*both("auto", x, 20000, window=(None, 0)))
    finally:
        torch.set_num_threads(before)


def kept(path: str, shape: tuple[int, int, int], count: int = 30000, **options) -> Tensor:
    """Which weights are kept: with equal weights and values of the identity, the output has one number for each weight."""
    heads, queries, keys = shape
    batch = options.pop("batch", 2)
    q, k, v = (
        torch.zeros(batch, heads, queries, 4),
        torch.zeros(batch, 1, keys, 4),
        torch.eye(keys).expand(batch, 1, keys, keys),
    )
    return op(q, k, v, rate(count), SEED, backend=path, **options)[0] != 0


@pytest.mark.parametrize("path", PATHS)
def test_the_bits_of_a_weight(path: str) -> None:
    """Equal to a description in Python's integers that shares nothing with the package."""
    site, step, ids, heads, first = 2**32 - 5, 5, [9, 2**32 - 1], [0, 7], 1000
    found = kept(
        path, (2, 3, 300), samples=torch.tensor(ids), heads=torch.tensor(heads), first_query=first, first_key=70, **ADDRESS
    )
    seed = (-77 % 2**64) ^ 0x417474656E74696F
    for (b, sample), (h, head), t in itertools.product(enumerate(ids), enumerate(heads), range(3)):
        subkey = philox((head, 0, 0, site), (seed & MASK, seed >> 32))
        key = subkey[0] | subkey[1] << 32
        expected = [bits(key, first + t, step, sample, 70 + s) >= 30000 for s in range(300)]
        assert found[b, h, t].tolist() == expected


@pytest.mark.parametrize("path", PATHS)
def test_each_sample_may_have_its_own_step(path: str) -> None:
    steps, ids = torch.tensor([4, 9]), torch.tensor([3, 8])
    found = kept(path, (3, 5, 200), step=steps, samples=ids)
    for b in range(2):
        alone = kept("reference", (3, 5, 200), batch=1, step=steps[b], samples=ids[b : b + 1])
        assert torch.equal(found[b], alone[0])


@pytest.mark.parametrize("path", PATHS)
def test_a_tile_has_the_mask_of_the_whole(path: str) -> None:
    whole = kept("reference", (2, 60, 500))
    for query, key in ((0, 0), (13, 130), (50, 1)):
        part = kept(path, (2, 10, 300), first_query=query, first_key=key)
        assert torch.equal(part, whole[:, :, query : query + 10, key : key + 300])


def test_the_mask_of_a_site_afterwards() -> None:
    site = thinnet.nn.AttentionDropout(0.4)
    rng = thinnet.DropoutRNG(5).bind(nn.ModuleDict({"weights": site})).at(3, [7, 9])
    q, k, v = torch.zeros(2, 4, 6, 8), torch.zeros(2, 4, 200, 8), torch.eye(200).expand(2, 4, 200, 200)
    mask = rng.mask("weights", step=3, samples=[7, 9], shape=(4, 6, 200), kind="attention")
    assert torch.equal(site(q, k, v) != 0, mask)
    part = rng.mask("weights", step=3, samples=9, shape=(2, 3, 50), kind="attention", start=(1, 2, 140))
    assert torch.equal(part[0], mask[1, 1:3, 2:5, 140:190])
    with pytest.raises(ValueError, match=r"start must be heads, queries, keys"):
        rng.mask("weights", step=3, samples=9, shape=(2, 3), kind="attention")
    with pytest.raises(ValueError, match="kind must be"):
        rng.mask("weights", step=3, samples=9, shape=(2, 3), kind="weights")


def test_packed_padded_and_single_sequences_agree() -> None:
    lengths, ids = [5, 130, 61], torch.tensor([4, 8, 1])
    starts = torch.tensor([0, *lengths]).cumsum(0)
    q, k, v = (torch.randn(1, 2, sum(lengths), 16, requires_grad=True) for _ in range(3))
    options = {**ADDRESS, "window": (None, 0)}
    weight = torch.randn(1, 2, sum(lengths), 16)
    packed, _ = op(q, k, v, rate(20000), SEED, samples=ids, query_starts=starts, key_starts=starts, **options)
    ours = torch.autograd.grad(packed, (q, k, v), weight)
    parts = [
        op(*(x[:, :, a:b] for x in (q, k, v)), rate(20000), SEED, samples=ids[i : i + 1], **options)[0]
        for i, (a, b) in enumerate(itertools.pairwise(starts.tolist()))
    ]
    assert torch.equal(packed, torch.cat(parts, 2))
    assert_agrees(ours, torch.autograd.grad(torch.cat(parts, 2), (q, k, v), weight))
    for left in (False, True):  # padding behind the sequences, or before them
        rows = [torch.arange(size) + (130 - size) * left for size in lengths]
        whole = [x.new_zeros(3, 2, 130, 16) for x in (q, k, v)]
        for i, (a, b) in enumerate(itertools.pairwise(starts.tolist())):
            for x, to in zip((q, k, v), whole, strict=True):
                to[i, :, rows[i]] = x.detach()[0, :, a:b]
        first = torch.tensor([rows_of[0].neg() for rows_of in rows])
        real = torch.stack([torch.zeros(130, dtype=torch.bool).index_fill(0, rows_of, True) for rows_of in rows])
        y, _ = op(
            *whole, rate(20000), SEED, samples=ids, mask=real[:, None, None], first_query=first, first_key=first, **options
        )
        for i, part in enumerate(parts):
            torch.testing.assert_close(y[i : i + 1, :, rows[i]], part, rtol=1e-5, atol=1e-6)


def nest(x: Tensor, lengths: list[int]) -> Tensor:
    """The first rows of each sample of `(B, H, T, D)`, as a nested tensor of that shape."""
    rows = [row[:, :length].transpose(0, 1) for row, length in zip(x, lengths, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged).transpose(1, 2)


@pytest.mark.parametrize("method", ["AttentionDropout", "DropKey", "DropHead"])
def test_nested_padded_and_packed_sequences_agree(method: str) -> None:
    queries, keys, ids = [5, 130, 61], [7, 90, 131], torch.tensor([4, 8, 1])
    x = [torch.randn(3, 2, 131, 16, requires_grad=True) for _ in range(3)]
    rows = torch.arange(131) < torch.tensor(queries)[:, None]
    real = torch.arange(131) < torch.tensor(keys)[:, None]
    weight = torch.randn(3, 2, 131, 16) * rows[:, None, :, None]
    site = getattr(thinnet.nn, method)(0.4)
    thinnet.DropoutRNG(5).bind(nn.ModuleDict({"weights": site})).at(3, ids)

    def run(q: Tensor, k: Tensor, v: Tensor, training: bool, **options) -> Tensor:
        if method == "DropHead":
            torch.manual_seed(0)
            return attention(q, k, v, p=0.4, training=training, method="DropHead", **options)
        return site.train(training)(q, k, v, **options)

    for training, options in itertools.product((True, False), ({}, {"is_causal": True}, {"window": (20, 5)})):
        padded = dict(options)
        if padded.pop("is_causal", False):
            padded["window"] = (None, 0)
        expected = run(*x, training, mask=real[:, None, None], **padded)
        y = run(*(nest(each, lengths) for each, lengths in zip(x, (queries, keys, keys), strict=True)), training, **options)
        assert y.layout is torch.jagged and y.shape[:2] == (3, 2)
        whole = torch.stack([F.pad(part, (0, 0, 0, 131 - part.shape[1])) for part in y.unbind()])
        assert_agrees((whole,), (expected * rows[:, None, :, None],))
        assert_agrees(torch.autograd.grad(whole, x, weight), torch.autograd.grad(expected, x, weight))


def test_nested_tensors_that_do_not_fit_are_refused() -> None:
    x = torch.randn(2, 4, 9, 8)
    q = nest(x, [3, 9])
    holes = torch.nested.narrow(torch.randn(2, 9, 4, 8), 1, torch.tensor([0, 2]), torch.tensor([3, 7]), layout=torch.jagged)
    wrong = (
        (TypeError, "got k of torch.strided", (q, x, x), {}),
        (ValueError, r"Call k\.contiguous\(\)", (q, holes.transpose(1, 2), q), {}),
        (ValueError, "k and v must have the same lengths", (q, q, nest(x, [4, 8])), {}),
        (ValueError, r"Transpose it: x\.transpose", (q.transpose(1, 2), q, q), {"enable_gqa": True}),
        (ValueError, "mask and starts must be left out", (q, q, q), {"mask": torch.ones(9, 9)}),
    )
    for error, text, given, options in wrong:
        with pytest.raises(error, match=text):
            attention(*given, **{"p": 0.5, "training": True} | options)


def test_the_operation_is_registered_completely() -> None:
    q, k, v = inputs()
    bias = torch.randn(1, 4, 37, 45, requires_grad=True).expand(2, 4, 37, 45)
    settings = Settings(bias, rate(20000), SEED, *[None] * 9, 0.25, -1, -1, 0)
    torch.library.opcheck(torch.ops.thinnet.attention.default, (q, k, v, *settings))

    def loss(*x: Tensor) -> Tensor:
        return attention(*x[:3], p=0.3, training=True, enable_gqa=True, mask=x[3]).square().sum()

    x = [q, k, v, torch.randn(4, 37, 45, requires_grad=True)]
    torch.manual_seed(0)
    expected = torch.autograd.grad(loss(*x), x)
    torch.manual_seed(0)
    found = torch.autograd.grad(torch.compile(loss, fullgraph=True, backend="aot_eager")(*x), x)
    torch.testing.assert_close(found, expected)


def test_derivatives_are_those_of_numbers() -> None:
    x = [each.detach().double().requires_grad_() for each in (*inputs((1, 2, 1, 4, 5, 3, 2)), torch.randn(2, 4, 5))]

    def run(*x: Tensor) -> Tensor:
        torch.manual_seed(0)
        return attention(*x[:3], p=0.3, training=True, enable_gqa=True, mask=x[3])

    assert torch.autograd.gradcheck(run, x) and torch.autograd.gradgradcheck(run, x)
    q, k, v = (each.detach().float().requires_grad_() for each in x[:3])
    (once,) = torch.autograd.grad(run(q, k, v, None).square().sum(), q, create_graph=True)
    (twice,) = torch.autograd.grad(once.square().sum(), q)
    (exact,) = torch.autograd.grad(run(*x[:3], None).square().sum(), x[0], create_graph=True)
    torch.testing.assert_close(twice.double(), torch.autograd.grad(exact.square().sum(), x[0])[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", ["AttentionDropout", "DropKey", "DropAttention", "DropHead"])
def test_every_method_equals_its_site(method: str) -> None:
    q, k, v = inputs((3, 4, 4, 6, 5, 8, 8))
    torch.manual_seed(2)
    y = attention(q, k, v, p=0.4, training=True, method=method)  # type: ignore[arg-type]
    site = getattr(thinnet.nn, method)(0.4)
    torch.manual_seed(2)
    expected = site(F.scaled_dot_product_attention(q, k, v)) if method == "DropHead" else site(q, k, v)
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_without_dropout_it_is_pytorchs_up_to_rounding(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, calls = F.scaled_dot_product_attention, []
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or theirs(*a, **k))
    fast = thinnet.ops.backends()["cpu"] in ("avx512", "avx2")
    for rows in (63, 64):  # from 64 on the kernel is the faster one
        x = inputs((2, 4, 2, rows, 150, 16, 16), dtype)
        allowed = torch.rand(2, 1, rows, 150) > 0.3
        allowed[0, 0, 5] = False
        for options in ({}, {"mask": allowed}, {"mask": torch.randn(rows, 150, dtype=dtype)}, {"is_causal": True}):
            calls.clear()
            y = attention(*x, p=0.3, training=False, enable_gqa=True, **options)
            assert len(calls) == (0 if rows == 64 and fast else 1)
            named = {"attn_mask" if name == "mask" else name: value for name, value in options.items()}
            expected = theirs(*x, enable_gqa=True, **named)
            weight = torch.randn_like(y)
            gradients = (torch.autograd.grad(each, x, weight) for each in (y, expected))
            assert_agrees((y, *next(gradients)), (expected, *next(gradients)), dtype)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_without_dropout_traced_code_has_the_operation_of_pytorch() -> None:
    x = torch.randn(1, 2, 80, 16)

    class Layer(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return attention(x, x, x, p=0.0, training=False)

    assert "scaled_dot_product" in str(torch.export.export(Layer(), (x,)).graph)
    y = torch.func.vmap(lambda x: attention(x, x, x, p=0.0, training=False))(x[None])
    torch.testing.assert_close(y[0], Layer()(x))


def test_a_window_is_a_mask_without_dropout_too() -> None:
    q, k, v = inputs((2, 4, 4, 20, 30, 8, 8))
    ahead = torch.arange(30) - torch.arange(20)[:, None]
    for left, right in ((3, None), (None, 2), (3, 2), (0, 0)):
        allowed = (ahead >= (-99 if left is None else -left)) & (ahead <= (99 if right is None else right))
        expected = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        torch.testing.assert_close(attention(q, k, v, p=0.3, training=False, window=(left, right)), expected)


def test_leading_axes_are_those_of_pytorch() -> None:
    for shape in ((6, 8), (3, 6, 8), (2, 3, 4, 6, 8)):
        q, k, v = (torch.randn(shape) for _ in range(3))
        for mask in (None, torch.rand(*shape[:-2], 6, 6) > 0.3):
            expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            torch.testing.assert_close(attention(q, k, v, p=0.0, training=True, mask=mask, first_key=0), expected)
            assert attention(q, k, v, p=0.5, training=True, mask=mask).shape == expected.shape


def test_vmap_joins_the_samples() -> None:
    q, k, v = (x.detach() for x in inputs())
    steps, ids = torch.tensor([4, 9, 1]), torch.tensor([[3, 8], [1, 0], [7, 7]])
    for given in ((None, ids[0]), (0, ids)):

        def run(q: Tensor, step: Tensor, samples: Tensor) -> Tensor:
            return op(q, k, v, rate(20000), SEED, step=step, samples=samples, window=(None, 0))[0]

        dims = (None, 0, given[0])
        expected = torch.stack([run(q, steps[i], ids[i] if given[0] == 0 else ids[0]) for i in range(3)])
        torch.testing.assert_close(torch.func.vmap(run, dims)(q, steps, given[1]), expected)


def test_autocast_and_vmap() -> None:
    q, k, v = torch.randn(3, 2, 4, 6, 8).unbind(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert attention(q, k, v, p=0.1, training=True).dtype == torch.bfloat16
    y = torch.func.vmap(lambda x: attention(x, k[0], v[0], p=0.3, training=True), randomness="different")(q)
    assert y.shape == q.shape


def test_denormal_weights_are_zeros_and_the_mode_of_the_processor_stays() -> None:
    q, k, v = (torch.randn(1, 1, 96, 32) * 12 for _ in range(3))
    tiny = torch.tensor([1e-40])
    before = (tiny * 0.5).item()
    op(q, k, v, rate(20000), SEED)
    assert before == (tiny * 0.5).item() != 0


def test_bad_input_is_refused() -> None:
    q, k, v = (torch.randn(2, 4, 6, 8) for _ in range(3))
    beyond, before, back = torch.tensor([0, 7]), torch.tensor([2, 6]), torch.tensor([0, 4, 2, 6])
    wrong = (
        (ValueError, "Set enable_gqa=True", (q, k[:, :2], v[:, :2]), {}),
        (ValueError, "where G divides H", (q, k[:, :3], v[:, :3]), {"enable_gqa": True}),
        (ValueError, "where G divides H", (q, k[..., :4], v), {}),
        (TypeError, r"Call k\.to\(q\.dtype\)", (q, k.double(), v), {}),
        (TypeError, "must be a dense floating-point tensor", (q.long(), k, v), {}),
        (ValueError, "method must be one of", (q, k, v), {"method": "Dropout"}),
        (ValueError, "starts of queries and of keys", (q[:1], k[:1], v[:1]), {"query_starts": torch.tensor([0, 6])}),
        (RuntimeError, "must ascend", (q[:1], k[:1], v[:1]), {"query_starts": back, "key_starts": back}),
        (ValueError, "end with the 6 rows", (q[:1], k[:1], v[:1]), {"query_starts": beyond, "key_starts": beyond}),
        (ValueError, "must begin with 0", (q[:1], k[:1], v[:1]), {"query_starts": before, "key_starts": before}),
        (ValueError, r"in \[0, 1\)", (q, k, v), {"method": "DropKey", "p": 1.0}),
    )
    for error, text, given, options in wrong:
        with pytest.raises(error, match=text):
            attention(*given, **{"p": 0.5, "training": True} | options)


def test_a_dtensor_is_served() -> None:
    dist = pytest.importorskip("torch.distributed")
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        q = distribute_tensor(torch.randn(2, 4, 6, 8), mesh, [Shard(1)])
        y = thinnet.nn.AttentionDropout(0.5)(q, q, q)
        assert isinstance(y, DTensor) and y.shape == q.shape
    finally:
        dist.destroy_process_group()
