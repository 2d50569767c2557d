"""Attention: equality with PyTorch in eval, its sites in training, and the mode of each site."""

import copy
import itertools
import pickle

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from assertions import assert_keeps_nothing, assert_mean, assert_rate, assert_same_bits, assert_variance
from torch import Tensor, nn

import thinnet
from thinnet.benchmark.memory import kept_and_peak
from thinnet.methods.attention import drop_attention, drop_key
from thinnet.methods.attention.attention import attention
from thinnet.methods.attention.attention_dropout import AttentionDropout
from thinnet.methods.attention.drop_attention import DropAttention
from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.attention.drop_key import DropKey
from thinnet.methods.attention.multihead_attention import MultiheadAttention
from thinnet.models.rewrite.functions import Intercepted
from thinnet.ops import reference
from thinnet.rng import rates

CAUSAL = torch.ones(6, 6, dtype=torch.bool).triu(1)
PADDING = torch.tensor([[False] * 6, [False] * 4 + [True] * 2, [False] * 5 + [True]])
OPTIONS = (
    {},
    {"bias": False},
    {"kdim": 5, "vdim": 7},
    {"kdim": 5, "vdim": 7, "bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"add_bias_kv": True, "add_zero_attn": True},
)
MASKS = (
    {},
    {"key_padding_mask": PADDING},
    {"attn_mask": CAUSAL},
    {"attn_mask": torch.randn(6, 6)},
    {"attn_mask": torch.randn(3 * 4, 6, 6)},
    {"attn_mask": CAUSAL.expand(12, 6, 6), "key_padding_mask": PADDING},
    {"attn_mask": torch.randn(6, 6), "key_padding_mask": torch.randn(3, 6)},
    {"attn_mask": CAUSAL, "is_causal": True},
    {"attn_mask": CAUSAL, "key_padding_mask": PADDING, "is_causal": True},
)
KINDS = (0.3, DropKey(0.3), DropAttention(0.3), DropAttention(0.3, window=2, columns=True))


def pair(batch_first: bool, **options) -> tuple[nn.MultiheadAttention, MultiheadAttention]:
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(8, 4, batch_first=batch_first, **options)
    torch.manual_seed(1)
    return theirs, MultiheadAttention(8, 4, batch_first=batch_first, **options)


def sequences(batch_first: bool, kdim: int = 8, vdim: int = 8, **_) -> list[Tensor]:
    made = [torch.randn(3, 6, size) for size in (8, kdim, vdim)]
    return made if batch_first else [x.transpose(0, 1) for x in made]


def assert_same_results(ours: nn.Module, theirs: nn.Module, inputs: list[Tensor], **call) -> None:
    for need, average in ((True, True), (True, False), (False, True)):
        call |= {"need_weights": need, "average_attn_weights": average}
        torch.testing.assert_close(ours(*inputs, **call), theirs(*inputs, **call), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_equals_pytorch_in_eval(options, batch_first) -> None:
    theirs, ours = pair(batch_first, **options)
    assert list(ours.state_dict()) and ours.state_dict().keys() == theirs.state_dict().keys()
    for name, parameter in theirs.state_dict().items():
        assert_same_bits(ours.state_dict()[name], parameter)  # drawn alike from one seed
    inputs = sequences(batch_first, **options)
    extended = "add_bias_kv" in options or "add_zero_attn" in options
    for mode, masks in itertools.product((True, False), MASKS):
        if not (extended and masks.get("is_causal")):  # PyTorch's kernel then hides the appended keys from the first queries
            assert_same_results(ours.train(mode), theirs.train(mode), inputs, **masks)
    theirs.load_state_dict(ours.state_dict())
    ours.load_state_dict(theirs.state_dict())


def test_one_sequence_without_a_batch() -> None:
    theirs, ours = pair(False)
    x = [torch.randn(6, 8), torch.randn(5, 8), torch.randn(5, 8)]
    for masks in ({}, {"key_padding_mask": torch.tensor([False] * 4 + [True])}, {"attn_mask": torch.randn(4, 6, 5)}):
        assert_same_results(ours, theirs, x, **masks)


def test_self_attention_and_its_gradients() -> None:
    theirs, ours = pair(True, dropout=0.0)
    x = torch.randn(3, 6, 8, requires_grad=True)
    expected = torch.autograd.grad(theirs(x, x, x, need_weights=False)[0].square().sum(), [x, *theirs.parameters()])
    for need in (True, False):
        found = torch.autograd.grad(ours(x, x, x, need_weights=need)[0].square().sum(), [x, *ours.parameters()])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_is_causal_needs_no_mask() -> None:
    _, ours = pair(True, add_bias_kv=True)
    x = torch.randn(3, 6, 8)
    for need, padding in itertools.product((True, False), (None, PADDING)):
        y, _ = ours(x, x, x, is_causal=True, need_weights=need, key_padding_mask=padding)
        expected, _ = ours(x, x, x, attn_mask=CAUSAL, need_weights=need, key_padding_mask=padding)
        torch.testing.assert_close(y, expected)


def test_a_query_that_may_attend_to_nothing_returns_zeros() -> None:
    theirs, _ = pair(True, bias=False)
    x = torch.randn(3, 6, 8, requires_grad=True)
    nothing = torch.zeros(3, 6, dtype=torch.bool)
    nothing[1] = True
    assert theirs(x, x, x, key_padding_mask=nothing)[0][1].isnan().all()
    for site, need in itertools.product((0.0, *KINDS), (True, False)):
        layer = MultiheadAttention(8, 4, copy.deepcopy(site), batch_first=True, bias=False)
        y, weights = layer(x, x, x, key_padding_mask=nothing, need_weights=need)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        assert bool((y[1] == 0).all() and y.isfinite().all() and gradient.isfinite().all())
        assert weights is None or bool((weights[1] == 0).all())


@pytest.mark.parametrize("site", KINDS, ids=str)
def test_the_returned_weights_are_those_before_dropout(site) -> None:
    layer = MultiheadAttention(8, 4, copy.deepcopy(site), drop_head=0.2, batch_first=True)
    x = torch.randn(3, 6, 8)
    (y, weights), (off, expected) = layer(x, x, x), copy.deepcopy(layer).eval()(x, x, x)
    assert_same_bits(weights, expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(3, 6))
    assert not torch.allclose(y, off)
    torch.manual_seed(4)
    y, weights = layer(x, x, x)
    torch.manual_seed(4)
    torch.testing.assert_close(layer(x, x, x, need_weights=False), (y, None))


@pytest.mark.parametrize("site", KINDS, ids=str)
def test_addressed_masks_follow_their_sample(site) -> None:
    for batch_first in (True, False):
        layer = MultiheadAttention(8, 4, copy.deepcopy(site), drop_head=0.4, batch_first=batch_first)
        rng = thinnet.DropoutRNG(5).bind(nn.ModuleDict({"attention": layer}))
        assert list(rng.sites) == ["attention.dropout", "attention.heads"]
        x, ids, order = torch.randn(12, 6, 8), torch.randperm(1000)[:12], torch.randperm(12)

        def run(rows: Tensor, layer=layer, rng=rng, x=x, ids=ids, batch_first=batch_first) -> Tensor:
            rng.at(2, ids[rows])
            part = x[rows] if batch_first else x[rows].transpose(0, 1)
            y, _ = layer(part, part, part)
            return y if batch_first else y.transpose(0, 1)

        torch.testing.assert_close(run(order), run(torch.arange(12))[order])


def test_it_equals_its_definition_with_addressed_masks() -> None:
    layer = MultiheadAttention(8, 2, 0.5, drop_head=0.5, batch_first=True)
    rng = thinnet.DropoutRNG(5).bind(layer).at(3, [7, 9])
    x = torch.randn(2, 4, 8)
    y, _ = layer(x, x, x)
    q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in F.linear(x, layer.in_proj_weight).chunk(3, -1))
    weights = (q @ k.mT / 2).softmax(-1) * rng.mask("dropout", step=3, samples=[7, 9], shape=(2, 4, 4), kind="attention") * 2
    heads = rng.mask("heads", step=3, samples=[7, 9], shape=(2, 1, 1)).float()
    heads = torch.where(heads.sum(1, keepdim=True) == 0, 1, heads)
    read = weights @ v * heads * 2 / heads.sum(1, keepdim=True)
    torch.testing.assert_close(y, F.linear(read.transpose(1, 2).flatten(2), layer.out_proj.weight))


def encoder_layer() -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.0, batch_first=True)
    ours = MultiheadAttention(8, 4, 0.5, batch_first=True)
    ours.load_state_dict(layer.self_attn.state_dict())
    layer.self_attn = ours
    return layer


def test_each_site_follows_its_mode_inside_pytorchs_encoder_layer() -> None:
    x = torch.randn(3, 6, 8)
    plain = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.0, batch_first=True).eval()
    layer = encoder_layer().eval()
    plain.load_state_dict(layer.state_dict())
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert_same_bits(layer(x), layer(x))
            torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-5)
            assert not torch.equal(layer.train()(x), layer(x))
            layer.eval().self_attn.dropout.train()  # sampling: dropout on, the rest in eval
            assert not torch.equal(layer(x), layer(x))
            layer.eval()


def test_pytorchs_encoder_layer_ignores_dropout_in_training_mode() -> None:
    x = torch.randn(3, 6, 8)
    layer = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.5, batch_first=True).eval()
    layer.dropout1.train()
    with torch.no_grad():
        assert_same_bits(layer(x), layer(x))  # the fused path
        layer.self_attn = MultiheadAttention(8, 4, 0.5, batch_first=True).eval()
        assert not torch.equal(layer(x), layer(x))  # our attention disables it for the other sites too


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_nested_batch_is_refused_with_a_next_step() -> None:
    x, padding = torch.randn(3, 6, 8), PADDING
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 4, 16, batch_first=True), 2).eval()
    with torch.no_grad():
        expected = encoder(x, src_key_padding_mask=padding)
        for layer in encoder.layers:
            ours = MultiheadAttention(8, 4, 0.1, batch_first=True).eval()
            ours.load_state_dict(layer.self_attn.state_dict())
            layer.self_attn = ours
        with pytest.raises(ValueError, match=r"got one nested\. .* encoder.use_nested_tensor = False"):
            encoder(x, src_key_padding_mask=padding)
        encoder.use_nested_tensor = False
        found = encoder(x, src_key_padding_mask=padding)
    torch.testing.assert_close(found[~padding], expected[~padding], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rescale", ["count", "rate"])
@pytest.mark.parametrize("dropout", [0.0, None, 0.3, DropKey(0.3)], ids=str)
def test_the_kernel_skips_dropped_heads(dropout, rescale, monkeypatch) -> None:
    """It is what the site returns where a hook reads it; forward and backward; and a dropped head is not computed."""
    layer, x = MultiheadAttention(8, 4, dropout, batch_first=True), torch.randn(5, 70, 8, requires_grad=True)
    layer.heads = DropHead(0.4, rescale)
    rng, found, drawn = thinnet.DropoutRNG(5).bind(layer).at(3, [9, 4, 2, 7, 1]), [], []
    factors = DropHead.factors
    monkeypatch.setattr(DropHead, "factors", lambda *a: drawn.append(factors(*a)) or drawn[-1])
    for need in (False, True):
        y = layer(x, x, x, need_weights=need)[0]
        rng.at(3, [9, 4, 2, 7, 1])
        found.append((y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()])))
    assert len(drawn) == 2 and torch.equal(*drawn) and bool((drawn[0] == 0).any())
    mask = rng.mask("heads", step=3, samples=[9, 4, 2, 7, 1], shape=(4,))
    assert rescale == "count" or torch.equal(drawn[0] != 0, mask)
    with Intercepted({}):  # something that replaces functions reads the heads too
        layer(x, x, x, need_weights=False)
    rng.at(3, [9, 4, 2, 7, 1])
    layer.heads.register_forward_hook(lambda *_: None)
    y = layer(x, x, x, need_weights=False)[0]
    assert len(drawn) == 2
    expected = (y, *torch.autograd.grad(y.sin().sum(), [x, *layer.parameters()]))
    for each in found:
        torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-5)


def test_dropped_heads_alone_use_the_fused_kernel(monkeypatch) -> None:
    calls = []
    kernel = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or kernel(*a, **k))
    x = torch.randn(3, 6, 8)
    MultiheadAttention(8, 4, drop_head=0.5)(x, x, x, need_weights=False)
    MultiheadAttention(8, 4, 0.5).eval()(x, x, x, need_weights=False)
    assert len(calls) == 2


@pytest.mark.parametrize(("site", "fused"), [(None, True), (0.0, False)])
def test_compiled_training_without_a_site_uses_the_fused_kernel(site, fused) -> None:
    taken = []

    def backend(graph: torch.fx.GraphModule, _):
        taken.extend(node.target for node in graph.graph.nodes)
        return graph

    x = torch.randn(3, 6, 8)
    layer = MultiheadAttention(8, 4, site)
    y, _ = torch.compile(layer, backend=backend, fullgraph=True)(x, x, x, need_weights=False)
    torch.testing.assert_close(y, layer(x, x, x, need_weights=False)[0])
    assert (F.scaled_dot_product_attention in taken) == fused


@pytest.mark.parametrize("site", KINDS, ids=str)
def test_one_graph_for_all_rates(site) -> None:
    layer = MultiheadAttention(8, 4, copy.deepcopy(site), drop_head=0.2, batch_first=True)
    rng = thinnet.DropoutRNG(5).bind(layer)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, backend=counter, fullgraph=True)
    for step in range(6):
        layer.dropout.p = layer.heads.p = step / 7
        x = torch.randn(3, 6, 8)
        rng.at(step, torch.randperm(100)[:3])
        torch.testing.assert_close(compiled(x, x, x), layer(x, x, x))
    assert counter.frame_count == 1


def test_it_is_copied_and_pickled_with_its_sites() -> None:
    layer, x = MultiheadAttention(8, 4, DropKey(0.3), drop_head=0.2), torch.randn(6, 3, 8)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        torch.manual_seed(2)
        expected = layer(x, x, x)[0]
        torch.manual_seed(2)
        assert_same_bits(twin(x, x, x)[0], expected)
    low = layer.to(torch.bfloat16)(*[x.bfloat16()] * 3)
    assert low[0].dtype == low[1].dtype == torch.bfloat16


def test_attention_in_eval_equals_pytorch() -> None:
    q, k, v = torch.randn(2, 4, 6, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 3)
    allowed = torch.rand(6, 5) > 0.3
    for options in ({}, {"mask": allowed}, {"mask": torch.randn(2, 1, 6, 5)}, {"is_causal": True}, {"scale": 0.1}):
        theirs = {"attn_mask" if name == "mask" else name: value for name, value in options.items()}
        expected = F.scaled_dot_product_attention(q, k, v, **theirs)
        assert_same_bits(attention(q, k, v, p=0.5, training=False, **options), expected)
        torch.testing.assert_close(attention(q, k, v, p=1e-9, training=True, **options), expected)  # rounds to rate 0
        assert not torch.equal(F.scaled_dot_product_attention(q, k, v, dropout_p=0.5, **theirs), expected)
    with pytest.raises(TypeError, match="training"):
        attention(q, k, v, p=0.5)
    with pytest.raises(ValueError, match="attention: mask must be left out"):
        attention(q, k, v, p=0.5, training=True, mask=allowed, is_causal=True)


def test_attention_has_the_mean_and_the_variance_of_dropout_on_its_weights() -> None:
    q, k, v = torch.randn(1, 1, 3, 8), torch.randn(1, 1, 5, 8), torch.randn(1, 1, 5, 2)
    many = [x.expand(40_000, -1, -1, -1) for x in (q, k, v)]
    weights = (q @ k.mT / 8**0.5).softmax(-1)
    variance = weights.square() @ v.square() * 0.25 / 0.75
    draws = attention(*many, p=0.25, training=True).double()
    assert_mean(draws, (weights @ v)[0].double(), variance[0].double())
    assert_variance(draws, (weights @ v)[0].double(), variance[0].double())


def test_attention_stores_neither_weights_nor_a_mask() -> None:
    q, k, v = (torch.randn(2, 4, 32, 8, requires_grad=True) for _ in range(3))
    output_and_log_sum_exp = 2 * 4 * 32 * (8 + 1) * 4
    assert_keeps_nothing(lambda: attention(q, k, v, p=0.1, training=True), q, k, v, most=output_and_log_sum_exp + 64)


@pytest.mark.parametrize("method", ["AttentionDropout", "DropKey"])
def test_the_memory_of_attention_grows_with_the_length_alone(method) -> None:
    def peak(length: int) -> int:
        q, k, v = (torch.zeros(1, 1, length, 16, requires_grad=True) for _ in range(3))
        return kept_and_peak(lambda: attention(q, k, v, p=0.1, training=True, method=method).sum(), q.device)[1]

    small = peak(512)
    assert [peak(512 * times) for times in (2, 4, 8)] == [pytest.approx(small * times, rel=0.05) for times in (2, 4, 8)]


def test_drop_key_equals_its_paper() -> None:
    site, ids = DropKey(0.4).double(), torch.tensor([4, 8])
    rng = thinnet.DropoutRNG(11).bind(nn.Sequential(site)).at(7, ids)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    where = torch.tensor(11), torch.tensor(7), torch.tensor(thinnet.rng.site_number("0")), ids
    u = (reference.unit_bits(*where, 60) / rates.RESOLUTION).double().reshape(x.shape)
    expected = drop_key.definition(x, u, rates.count(0.4) / rates.RESOLUTION)
    assert bool((expected == -torch.inf).any() and (expected > -torch.inf).any(-1).all())
    assert_same_bits(site(x), expected)
    assert rng.step == 7
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: site(x).softmax(-1), x)
    (gradient,) = torch.autograd.grad((site(x).softmax(-1) * torch.randn_like(x)).sum(), x)
    assert bool((gradient[expected == -torch.inf] == 0).all() and gradient.any())


def test_drop_key_drops_at_its_rate_and_empties_no_row() -> None:
    y = DropKey(0.5)(torch.zeros(20_000, 1, 1, 3))
    empty = 0.5**3  # all three dropped: none is
    assert_rate(y[..., 0] == -torch.inf, 0.5 - empty)
    assert bool((y.amax(-1) == 0).all())
    masked = torch.zeros(2000, 1, 1, 3)
    masked[..., 0] = -torch.inf  # a masked key stays masked
    y = DropKey(0.9)(masked)
    assert bool((y[..., 0] == -torch.inf).all() and (y.amax(-1) == 0).all())
    assert bool((DropKey(0.5)(torch.full((9, 1, 1, 3), -torch.inf)) == -torch.inf).all())


def test_drop_key_is_the_identity_in_eval_and_at_rate_zero() -> None:
    x = torch.randn(2, 3, 4, 5)
    assert DropKey(0.5).eval()(x) is x and drop_key.drop_key(x, 0.5, training=False) is x
    for p in (0.0, 1e-9):
        assert_same_bits(DropKey(p)(x), x)
    torch.manual_seed(3)
    y = DropKey(0.5)(x)
    torch.manual_seed(3)
    assert_same_bits(drop_key.drop_key(x, 0.5, training=True), y)
    assert DropKey(0.5)(x.bfloat16()).dtype == torch.bfloat16


def test_drop_attention_preserves_the_sums_of_rows() -> None:
    x = torch.rand(500, 2, 4, 6)
    for window, columns in itertools.product((1, 3, 9), (False, True)):
        y = DropAttention(0.6, window, columns)(x)
        torch.testing.assert_close(y.sum(-1), x.sum(-1))
        ratio = y / x
        assert bool(((ratio == 0) | (ratio - ratio.amax(-1, keepdim=True)).abs().lt(1e-4)).all())
        if columns:
            dropped = (y == 0).float().mean(-2)
            assert bool(((dropped == 0) | (dropped == 1)).all())


def test_the_mean_of_drop_attention_equals_the_sum_over_all_masks() -> None:
    row, p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64), 0.375
    masks = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4)), dtype=torch.float64)
    chance = torch.where(masks == 0, p, 1 - p).prod(1, keepdim=True)
    values = drop_attention.definition(row.expand(16, 4), masks, 0.5)
    mean = (chance * values).sum(0)
    variance = (chance * values.square()).sum(0) - mean**2
    draws = DropAttention(p)(row.expand(100_000, 1, 1, 4))[:, 0, 0]
    assert_mean(draws, mean, variance)
    assert_variance(draws, mean, variance)
    assert float(mean.sum()) == pytest.approx(1) and not torch.allclose(mean, row)


@pytest.mark.parametrize("window", [1, 2, 4, 9])
def test_windows_cover_every_key_at_the_rate(window) -> None:
    x = torch.full((20_000, 1, 1, 60), 1 / 60)  # so many keys that no row is emptied
    dropped = DropAttention(0.25, window)(x)[:, 0, 0] == 0
    for key in (0, 1, 30, 59):
        assert_rate(dropped[:, key], 0.25)
    alone = ~dropped[:, :-2] & dropped[:, 1:-1] & ~dropped[:, 2:]
    assert bool(alone.any()) == (window == 1)


@pytest.mark.parametrize("columns", [False, True])
def test_windows_equal_the_definition(columns) -> None:
    site, x = DropAttention(0.4, 3, columns), torch.randn(3, 2, 5, 7).softmax(-1)
    rng = thinnet.DropoutRNG(11).bind(site).at(7, [2, 4, 6])
    u = site.key(x).uniform((3, 2, 1 if columns else 5, 9))
    y = rng.at(7, [2, 4, 6]) and site(x)
    torch.testing.assert_close(y, drop_attention.definition(x, u, rates.count(0.4) / rates.RESOLUTION, 3, columns))
    assert bool((y == 0).any())


def test_bad_settings_are_refused() -> None:
    for window in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="DropAttention: window must be an integer of at least 1"):
            DropAttention(0.1, window)
    with pytest.raises(ValueError, match="weights must have a batch axis"):
        DropAttention(0.1, columns=True)(torch.rand(3, 4))
    with pytest.raises(ValueError, match="DropHead: x must have heads"):
        DropHead(0.5)(torch.rand(3, 4))
    with pytest.raises(ValueError, match='DropHead: rescale must be "count" or "rate"'):
        DropHead(0.5, "heads")
    with pytest.raises(ValueError, match="embed_dim must be a multiple of num_heads"):
        MultiheadAttention(10, 4)
    with pytest.raises(TypeError, match="dropout must be a rate or a site"):
        MultiheadAttention(8, 4, nn.Dropout(0.1))
    with pytest.raises(ValueError, match="AttentionDropout: p must be"):
        MultiheadAttention(8, 4, 1.5)
    x = torch.randn(3, 6, 8)
    layer = MultiheadAttention(8, 4, batch_first=True)
    for wrong in ({"attn_mask": CAUSAL[:5]}, {"key_padding_mask": PADDING[:1]}, {"key_padding_mask": PADDING.T}):
        with pytest.raises(ValueError, match=r"MultiheadAttention: .*mask must be of shape"):
            layer(x, x, x, **wrong)
    with pytest.raises(ValueError, match="2 or 3 axes"):
        layer(x[None], x[None], x[None])
    for p in (1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match="DropKey: p must be"):
            DropKey(p)
        with pytest.raises(ValueError, match="drop_key: p must be"):
            drop_key.drop_key(x, p, training=True)
    with pytest.raises(TypeError, match=r"Call x\.float\(\) first"):
        DropKey(0.5)(torch.ones(2, 2, dtype=torch.int64))


def test_dropped_heads_have_the_exact_rate() -> None:
    x = torch.ones(60_000, 4, 1, 1)
    dropped = DropHead(0.5)(x) == 0
    assert_rate(dropped[:, 0], 0.5 - 0.5**4)  # a sample that would lose all four loses none
    assert_rate(dropped.sum(1) == 3, 4 * 0.5**4)
    assert not bool(dropped.all(1).any())
    assert_rate(DropHead(0.5, rescale="rate")(x) == 0, 0.5)


def test_the_v_shaped_schedule_of_scheduled_drop_head() -> None:
    model = nn.ModuleDict({"attention": MultiheadAttention(8, 4, 0.1, drop_head=0.25)})
    v = thinnet.schedules.Piecewise(((0, 0.25), (100, 0.0), (500, 0.25)))
    rng = thinnet.DropoutRNG(0, schedules={"*.heads": v}).bind(model)
    layer = model["attention"]
    assert list(rng.sites) == ["attention.dropout", "attention.heads"]
    seen = [(rng.at(step), layer.heads.p, layer.dropout.p)[1:] for step in (0, 50, 100, 300, 500, 900)]
    assert seen == [(0.25, 0.1), (0.125, 0.1), (0.0, 0.1), (0.125, 0.1), (0.25, 0.1), (0.25, 0.1)]


def test_any_site_can_drop_the_weights() -> None:
    layer = MultiheadAttention(8, 4, thinnet.nn.GaussianDropout(0.5))
    x = torch.randn(6, 3, 8)
    assert not torch.equal(layer(x, x, x)[0], layer(x, x, x)[0])
    assert isinstance(MultiheadAttention(8, 4, 0.0).dropout, AttentionDropout)
    assert not [module for module in MultiheadAttention(8, 4).modules() if isinstance(module, thinnet.rng.Site)]
