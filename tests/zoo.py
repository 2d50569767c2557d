"""Tiny models of `transformers` with the dropout of their configurations, to run every tool on."""

from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

transformers.logging.set_verbosity_error()
IDS = torch.randint(5, 90, (2, 12), generator=torch.Generator().manual_seed(0))
TEXT = dict(input_ids=IDS)
BOTH = dict(input_ids=IDS, decoder_input_ids=IDS)
PIXELS = dict(pixel_values=torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
SOUND = dict(input_features=torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(2)), decoder_input_ids=IDS)
WAVES = dict(input_values=torch.randn(2, 800, generator=torch.Generator().manual_seed(3)))
S = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
IMAGE = dict(image_size=16, patch_size=4)
HIDDEN = dict(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
ATTENTION = dict(attention_dropout=0.1)
SPECIAL = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1)
PAIR = dict(
    **dict(vocab_size=100, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2),
    **dict(decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, dropout=0.1, attention_dropout=0.2),
    **SPECIAL,
)
SPEECH = S | dict(
    **dict(conv_dim=(16, 16), conv_stride=(5, 2), conv_kernel=(10, 3), num_conv_pos_embeddings=4),
    **dict(num_conv_pos_embedding_groups=2, apply_spec_augment=False),
)
T5 = dict(vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
SPARSE = dict(num_decoder_layers=2, num_sparse_encoder_layers=1, num_sparse_decoder_layers=1)
FEW = dict(num_key_value_heads=2)
ZOO: dict[str, tuple[str, dict[str, Any], dict[str, Tensor]]] = {
    "Albert": ("Model", S | HIDDEN | dict(embedding_size=16), TEXT),
    "Bart": ("Model", PAIR | dict(activation_dropout=0.1, encoder_layerdrop=0.2, decoder_layerdrop=0.2), BOTH),
    "Beit": ("Model", S | IMAGE | HIDDEN | dict(drop_path_rate=0.2), PIXELS),
    "Bert": ("Model", S, TEXT),
    "BigBird": ("Model", S | dict(attention_type="original_full"), TEXT),
    "Bloom": ("Model", dict(vocab_size=100, hidden_size=32, n_layer=2, n_head=2, hidden_dropout=0.1) | ATTENTION, TEXT),
    "CLIPText": ("Model", S | ATTENTION | SPECIAL, TEXT),
    "ConvNext": ("Model", dict(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, drop_path_rate=0.5), PIXELS),
    "Deberta": ("Model", S | dict(relative_attention=True, pos_att_type="p2c|c2p"), TEXT),
    "Dinov2": ("Model", S | IMAGE | HIDDEN | dict(mlp_ratio=2, drop_path_rate=0.2), PIXELS),
    "DistilBert": ("Model", dict(vocab_size=100, dim=32, n_layers=2, n_heads=2, hidden_dim=64), TEXT),
    "Electra": ("Model", S | dict(embedding_size=16), TEXT),
    "Falcon": ("Model", S | ATTENTION | dict(hidden_dropout=0.1), TEXT),
    "GPT2": ("LMHeadModel", dict(vocab_size=100, n_embd=32, n_layer=2, n_head=2), TEXT),
    "GPTNeoX": ("Model", S | ATTENTION | dict(hidden_dropout=0.1), TEXT),
    "Hubert": ("Model", SPEECH, WAVES),
    "Llama": ("ForCausalLM", S | ATTENTION, TEXT),
    "Longformer": ("Model", S | dict(attention_window=4), TEXT),
    "Marian": ("MTModel", PAIR, BOTH),
    "Mistral": ("Model", S | ATTENTION | FEW, TEXT),
    "Mixtral": ("Model", S | ATTENTION | FEW | dict(num_local_experts=4), TEXT),
    "MPNet": ("Model", S, TEXT),
    "OPT": ("Model", PAIR | dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, ffn_dim=64, layerdrop=0.2), TEXT),
    "Phi": ("Model", S | ATTENTION | dict(resid_pdrop=0.1, embd_pdrop=0.1), TEXT),
    "Reformer": (
        "Model",
        dict(
            **dict(vocab_size=100, hidden_size=32, num_attention_heads=2, attention_head_size=16, feed_forward_size=64),
            **dict(attn_layers=["local", "local"], axial_pos_embds=False, local_attn_chunk_length=4, is_decoder=False),
            **dict(max_position_embeddings=64, hidden_dropout_prob=0.1, local_attention_probs_dropout_prob=0.1),
        ),
        TEXT,
    ),
    "RoFormer": ("Model", S, TEXT),
    "Roberta": ("Model", S, TEXT),
    "Swin": (
        "Model",
        HIDDEN
        | dict(image_size=16, patch_size=2, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=2, drop_path_rate=0.2),
        PIXELS,
    ),
    "SwitchTransformers": ("Model", T5 | SPARSE | dict(num_experts=4), BOTH),
    "T5": ("Model", T5, BOTH),
    "ViT": ("Model", S | IMAGE | HIDDEN, PIXELS),
    "Wav2Vec2": ("Model", SPEECH, WAVES),
    "Whisper": ("Model", PAIR | dict(num_mel_bins=8, max_source_positions=10, encoder_layerdrop=0.3), SOUND),
    "XLNet": ("Model", dict(vocab_size=100, d_model=32, n_layer=2, n_head=2, d_inner=64), TEXT),
}


def pretrained(name: str) -> tuple[nn.Module, dict[str, Tensor]]:
    """Returns a model in training mode, and an input of it."""
    kind, settings, inputs = ZOO[name]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**settings)
    return getattr(transformers, f"{name}{kind}")(config).train(), dict(inputs)


def outputs(model: nn.Module, inputs: Any) -> list[Tensor]:
    """Returns the floating-point tensors that a model returns."""
    if isinstance(inputs, dict):
        out = model(**inputs)
    else:
        out = model(*inputs) if isinstance(inputs, tuple) else model(inputs)
    leaves = tree_leaves(dict(out) if hasattr(out, "keys") else out)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.is_floating_point()]
