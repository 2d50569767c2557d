"""Attention on the kept heads equals masked attention, and dropped heads are not computed."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_same_bits
from branched import assert_alike
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import thinnet
from thinnet.methods.attention import kept_heads, multihead_attention
from thinnet.methods.attention.attention_dropout import AttentionDropout
from thinnet.methods.attention.drop_attention import DropAttention
from thinnet.methods.attention.drop_head import DropHead
from thinnet.methods.attention.drop_key import DropKey
from thinnet.methods.attention.multihead_attention import MultiheadAttention

CAUSAL = torch.ones(5, 5, dtype=torch.bool).triu(1)


@contextmanager
def all_heads() -> Iterator[None]:
    """Inside it every head is computed."""
    held = multihead_attention.kept_heads
    multihead_attention.kept_heads = lambda *_: None
    try:
        yield
    finally:
        multihead_attention.kept_heads = held


def layer(p: float, rescale: Any = "count", dropout: Any = None, **settings: Any) -> MultiheadAttention:
    made = MultiheadAttention(8, 4, copy.deepcopy(dropout), drop_head=DropHead(p, rescale, shared=True), **settings).double()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def results(model: nn.Module, *given: Tensor, **masks: Any) -> list[Tensor]:
    """Returns the output and all gradients."""
    given = tuple(dict.fromkeys(given))
    x = [each.detach().clone().requires_grad_() for each in given]
    model.zero_grad()
    y = model(*(x * 3 if len(x) == 1 else x), need_weights=False, **masks)[0]
    (y * torch.linspace(-1, 1, y.numel(), dtype=y.dtype).reshape(y.shape)).sum().backward()
    return [y.detach(), *(each.grad for each in (*x, *model.parameters()))]  # type: ignore[list-item]


def assert_exact(model: MultiheadAttention, *given: Tensor, steps: int = 3, **masks: Any) -> None:
    rng = thinnet.DropoutRNG(3).bind(model)
    for step in range(steps):
        rng.at(step)
        with all_heads():
            expected = results(model, *given, **masks)
        assert_alike(results(model, *given, **masks), expected)
    rng.unbind()


@pytest.mark.parametrize("rescale", ["count", "rate"])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.98])
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_skipped_heads_equal_masked_heads(batch: int, p: float, rescale: str) -> None:
    x = torch.randn(5, batch, 8, dtype=torch.float64)
    assert_exact(layer(p, rescale), x)
    assert_exact(layer(p, rescale, batch_first=True).float(), x.transpose(0, 1).float())


@pytest.mark.parametrize("dropout", [None, 0.3, DropKey(0.4), DropAttention(0.3, columns=True)], ids=str)
@pytest.mark.parametrize(
    "settings", [{}, {"bias": False}, {"add_bias_kv": True, "add_zero_attn": True}, {"kdim": 5, "vdim": 6}], ids=str
)
def test_other_sites_masks_and_projections_agree_too(settings: dict[str, Any], dropout: Any) -> None:
    x = torch.randn(5, 3, 8, dtype=torch.float64)
    given = (x, torch.randn(5, 3, 5).double(), torch.randn(5, 3, 6).double()) if "kdim" in settings else (x,)
    padding = torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 3 + [True] * 2])
    model = layer(0.5, dropout=AttentionDropout(dropout) if isinstance(dropout, float) else dropout, **settings)
    assert_exact(model, *given, attn_mask=CAUSAL, key_padding_mask=padding, steps=2)
    assert_exact(model, *given, attn_mask=torch.randn(12, 5, 5).double(), steps=2)
    assert_exact(model, *given, is_causal=True, steps=2)


def test_dropped_heads_cost_no_work_and_get_zero_gradients() -> None:
    model, x = layer(0.5), torch.randn(5, 3, 8, dtype=torch.float64)
    rng = thinnet.DropoutRNG(3).bind(model)
    for step in range(6):
        kept = rng.at(step).mask("heads", step=step, samples=[0], shape=(4,))[0]
        kept = kept if bool(kept.any()) else ~kept
        with FlopCounterMode(display=False) as thinned:
            results(model, x)
        with FlopCounterMode(display=False) as dense, all_heads():
            results(model, x)
        share = int(kept.sum()) / 4
        assert thinned.get_total_flops() == pytest.approx(share * dense.get_total_flops(), rel=1e-6)
        results(model, x)
        rows = kept.repeat_interleave(2).repeat(3)
        for gradient in (model.in_proj_weight.grad, model.in_proj_bias.grad, model.out_proj.weight.grad.T):  # type: ignore[union-attr]
            live = gradient.reshape(len(gradient), -1).any(1)  # type: ignore[union-attr]
            assert not bool(live[~rows[: len(live)]].any())
            assert bool(live[: len(rows) // 3][rows[: len(live)][: len(rows) // 3]].all())


def test_no_kept_heads_by_count_and_by_rate() -> None:
    model, x = layer(0.999), torch.randn(5, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x, x, x, need_weights=False), model.eval()(x, x, x, need_weights=False))
    model = layer(0.999, "rate")
    gradients = results(model, x)
    torch.testing.assert_close(gradients[0], model.out_proj.bias.detach().expand(5, 3, 8))
    assert all(bool((each != 0).any()) == (each is gradients[-1] or each is gradients[0]) for each in gradients)


def hooked(model: MultiheadAttention) -> None:
    model.out_proj.register_forward_hook(lambda module, args, output: output * 2)


def wrapped(model: MultiheadAttention) -> None:
    model.out_proj = thinnet.nn.DropConnect(model.out_proj, 0.3)  # type: ignore[assignment]


def normed(model: MultiheadAttention) -> None:
    nn.utils.parametrizations.weight_norm(model.out_proj)
    nn.utils.parametrizations.weight_norm(model, "in_proj_weight")


@pytest.mark.parametrize("change", [hooked, wrapped, normed])
def test_a_projection_with_hooks_is_called(change: Callable[[MultiheadAttention], None]) -> None:
    model = layer(0.5)
    change(model)
    assert_exact(model, torch.randn(5, 3, 8, dtype=torch.float64))


def test_all_heads_are_computed_where_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = layer(0.5), torch.randn(5, 3, 8, dtype=torch.float64)
    monkeypatch.setattr(kept_heads.Heads, "projection", lambda *_: pytest.fail("a part of the heads was computed"))
    weights = model(x, x, x)[1]
    assert_same_bits(weights, model.eval()(x, x, x)[1])
    model.train().heads = DropHead(0.5)
    model(x, x, x, need_weights=False)
    with torch.no_grad():
        torch.func.vmap(lambda x: model(x, x, x, need_weights=False)[0], randomness="different")(x[None])


def test_compiled_attention_is_one_graph() -> None:
    model = layer(0.5).float()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    rng, compiled = thinnet.DropoutRNG(3).bind(model), torch.compile(model, backend=counter, fullgraph=True)
    for step in range(3):
        model.heads.p = (step + 1) / 5  # type: ignore[union-attr]
        rng.at(step)
        x = torch.randn(5, 3, 8)
        torch.testing.assert_close(compiled(x, x, x, need_weights=False), model(x, x, x, need_weights=False))
    assert counter.frame_count == 1


def test_state_equals_pytorch_and_the_encoder_layer_accepts_it() -> None:
    encoder = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.0)
    keys, x = list(encoder.state_dict()), torch.randn(5, 3, 8)
    encoder.self_attn = layer(0.5).float()  # type: ignore[assignment]
    assert list(encoder.state_dict()) == keys
    rng = thinnet.DropoutRNG(3).bind(encoder).at(0)
    kept = rng.mask("self_attn.heads", step=0, samples=[0], shape=(4,)).sum()
    with FlopCounterMode(display=False) as thinned:
        y = encoder(x)
    with FlopCounterMode(display=False) as dense, all_heads():
        torch.testing.assert_close(y, encoder(x))
    assert (thinned.get_total_flops() < dense.get_total_flops()) == bool(kept % 4)


def test_sites_sees_all_heads() -> None:
    encoder, x = nn.TransformerEncoderLayer(8, 4, 16, dropout=0.0), torch.randn(5, 3, 8)
    encoder.self_attn = layer(0.3).float()  # type: ignore[assignment]
    assert [(site.name, site.p) for site in thinnet.sites(encoder, x) if site.p] == [("self_attn.heads", 0.3)]
