"""The models of `transformers`, built from configurations: one site for each dropout of a layer, and none in eval."""

import copy

import pytest
import torch
import transformers
from transformers import PretrainedConfig

import thinnet
from thinnet.integrations.transformers import register_attention

IDS = torch.randint(5, 90, (2, 12), generator=torch.Generator().manual_seed(0))
SMALL = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
TEXT = dict(input_ids=IDS)
BOTH = dict(input_ids=IDS, decoder_input_ids=IDS)
PIXELS = dict(pixel_values=torch.randn(2, 3, 16, 16))
SOUND = dict(input_features=torch.randn(2, 8, 20), decoder_input_ids=IDS)
GPT2 = dict(vocab_size=100, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
VIT = SMALL | dict(image_size=16, patch_size=4, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
T5 = dict(vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
WHISPER = dict(
    **dict(vocab_size=100, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2),
    **dict(decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=8, max_source_positions=10),
    **dict(dropout=0.1, attention_dropout=0.2, activation_dropout=0.05, encoder_layerdrop=0.3),
    **dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1),
)
MODELS: dict[str, tuple[str, PretrainedConfig, dict[str, torch.Tensor], int]] = {  # sites of dropout: by hand from the sources
    "bert": ("BertModel", transformers.BertConfig(**SMALL), TEXT, 1 + 2 * 3),
    "gpt2": ("GPT2LMHeadModel", transformers.GPT2Config(**GPT2), TEXT, 1 + 2 * 3),
    "llama": ("LlamaForCausalLM", transformers.LlamaConfig(**SMALL, attention_dropout=0.1), TEXT, 2),
    "vit": ("ViTModel", transformers.ViTConfig(**VIT), PIXELS, 1 + 2 * 3),
    "t5": ("T5Model", transformers.T5Config(**T5), BOTH, 4 + 2 * 4 + 2 * 6),
    "whisper": ("WhisperModel", transformers.WhisperConfig(**WHISPER), SOUND, 2 + 2 * 4 + 2 * 6),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_site_is_found(name: str) -> None:
    kind, config, inputs, count = MODELS[name]
    found = thinnet.sites(getattr(transformers, kind)(config), passes=6, **inputs)
    dropouts = [site for site in found if site.kind == "dropout"]
    assert len(dropouts) == count, str(found)
    assert not [site for site in found if site.on_in_eval]
    assert all(site.line is not None and round(site.p, 6) in (0.05, 0.1, 0.2) for site in dropouts)
    assert all(site.scale == pytest.approx(1 / (1 - site.p), rel=1e-3) for site in dropouts if site.p)


def test_a_randomly_skipped_layer_is_a_decision() -> None:
    kind, config, inputs, _ = MODELS["whisper"]
    found = thinnet.sites(getattr(transformers, kind)(config), passes=6, **inputs)
    (decision,) = [site for site in found if site.kind == "decision"]
    assert (decision.name, decision.p, decision.draws) == ("encoder", pytest.approx(0.3), 2.0)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "vit", "t5"])
def test_thinnet_is_an_attention_implementation(name: str) -> None:
    register_attention()
    kind, config, inputs, _ = MODELS[name]
    torch.manual_seed(0)
    theirs = getattr(transformers, kind)(copy.deepcopy(config)).eval()
    chosen = copy.deepcopy(config)
    chosen._attn_implementation = "thinnet"
    ours = getattr(transformers, kind)(chosen).eval()
    ours.load_state_dict(theirs.state_dict())
    torch.testing.assert_close(ours(**inputs)[0], theirs(**inputs)[0], rtol=1e-4, atol=1e-5)
    found = thinnet.sites(ours, **inputs)
    fused = [site for site in found if site.op == "thinnet::attention"]
    assert fused and all(not site.on_in_eval and round(site.p, 4) in (0.1, 0.2) for site in fused)
    ours.train()(**inputs)[0].square().sum().backward()
    assert all(p.grad.isfinite().all() for p in ours.parameters() if p.grad is not None)


ATTENTION_ALONE: dict[str, tuple[str, PretrainedConfig, str]] = {  # no other dropout; the second site
    "bert": ("BertModel", transformers.BertConfig(**SMALL, hidden_dropout_prob=0.0), "encoder.layer.1.attention.self"),
    "gpt2": ("GPT2Model", transformers.GPT2Config(**GPT2, embd_pdrop=0.0, resid_pdrop=0.0), "h.1.attn"),
    "llama": (
        "LlamaModel",
        transformers.LlamaConfig(**SMALL | dict(num_key_value_heads=1), attention_dropout=0.1),
        "layers.1.self_attn",
    ),
}


@pytest.mark.parametrize("name", ATTENTION_ALONE)
def test_the_masks_of_an_attention_layer_have_addresses(name: str) -> None:
    """A model with masks drawn afterwards, by their addresses, is the model that dropped."""
    register_attention()
    kind, config, last = ATTENTION_ALONE[name]
    config = copy.deepcopy(config)
    config._attn_implementation = "thinnet"
    model, ids = getattr(transformers, kind)(config), [30, 7]
    thinnet.replace(model, functional=True, example=TEXT)
    rng = thinnet.DropoutRNG(5).bind(model)
    used = [site for site in rng.sites if site.endswith(".dropout_calls.0")]
    assert len(used) == 2 and f"{last}.dropout_calls.0" in used
    rng.at(3, ids)
    y = model.train()(**TEXT)[0]
    rng.at(3, ids[::-1])
    torch.testing.assert_close(model(IDS.flip(0))[0].flip(0), y)
    names = {module: path for path, module in model.named_modules()}

    def by_hand(module, q, k, v, mask, scaling=None, dropout=0.0, **_):
        k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        z = q @ k.mT * (q.shape[-1] ** -0.5 if scaling is None else scaling)
        if name != "bert":
            z = z.where(torch.ones(z.shape[-2:], dtype=torch.bool).tril(), -torch.inf)
        kept = rng.mask(f"{names[module]}.dropout_calls.0", step=3, samples=ids, shape=(2, 12, 12), kind="attention")
        return (z.softmax(-1) * kept / 0.9 @ v).transpose(1, 2), None

    transformers.AttentionInterface.register("by_hand", by_hand)
    model.set_attn_implementation("by_hand")
    expected = model(**TEXT)[0]
    torch.testing.assert_close(y, expected, rtol=1e-3, atol=1e-4)
    weight = torch.randn_like(y)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours, theirs = (torch.autograd.grad(each, parameters, weight, allow_unused=True) for each in (y, expected))
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None and other is not None:
            torch.testing.assert_close(mine, other, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_a_vanishing_rate_changes_nothing(name: str) -> None:
    """In training the fused kernel has the scale, the masks, the padding and the biases of positions of PyTorch's."""
    register_attention()
    kind, config, inputs, _ = MODELS[name]
    config = copy.deepcopy(config)
    for rate in [each for each in vars(config) if "drop" in each and isinstance(getattr(config, each), float)]:
        setattr(config, rate, 1e-9)
    padding = torch.ones(2, 12, dtype=torch.long)
    padding[1, 7:] = 0
    model = getattr(transformers, kind)(config).train()
    theirs, ours = [
        model.set_attn_implementation(chosen) or model(**inputs, attention_mask=padding)[0] for chosen in ("sdpa", "thinnet")
    ]
    torch.testing.assert_close(ours[padding.bool()], theirs[padding.bool()], rtol=1e-4, atol=1e-5)


def test_the_attention_function_is_that_of_transformers() -> None:
    """For one query, with a mask and a bias, and for causal layers with a bias."""
    from thinnet.integrations.transformers_attention import attention_forward, sdpa_attention_forward

    layer, k, bias = torch.nn.Module(), torch.randn(2, 4, 9, 8), torch.randn(1, 4, 9, 9)
    allowed = torch.rand(2, 1, 9, 9) > 0.3
    cases = (
        (k[:, :, -1:], {"attention_mask": None}),
        (k, {"attention_mask": None, "is_causal": True}),
        (k, {"attention_mask": None, "is_causal": True, "position_bias": bias}),
        (k, {"attention_mask": None, "is_causal": False, "position_bias": bias}),
        (k, {"attention_mask": allowed, "position_bias": bias}),
        (k, {"attention_mask": torch.where(allowed, 0.0, -1e4), "position_bias": bias, "scaling": 0.7}),
    )
    for q, options in cases:
        ours, theirs = (
            each(layer, q, k, k, dropout=p, **options)[0]
            for each, p in ((attention_forward, 1e-9), (sdpa_attention_forward, 0.0))
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
