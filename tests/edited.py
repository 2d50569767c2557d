"""Small networks of each architecture to edit, and snapshots to compare before and after."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from thinnet.models.state import preserve_state

IDS = torch.randint(5, 90, (2, 12), generator=torch.Generator().manual_seed(0))
SMALL = dict(vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
GPT2 = dict(vocab_size=100, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
VIT = SMALL | dict(image_size=16, patch_size=4, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.2)
T5 = dict(vocab_size=100, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
WHISPER = dict(
    **dict(vocab_size=100, d_model=32, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2),
    **dict(decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_mel_bins=8, max_source_positions=10),
    **dict(dropout=0.1, attention_dropout=0.2, activation_dropout=0.05, encoder_layerdrop=0.3),
    **dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1),
)
TEXT = dict(input_ids=IDS)
BOTH = dict(input_ids=IDS, decoder_input_ids=IDS)
PIXELS = dict(pixel_values=torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
SOUND = dict(input_features=torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(2)), decoder_input_ids=IDS)
X = torch.randn(6, 16, generator=torch.Generator().manual_seed(3))
MAPS = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(4))


class FunctionalMLP(nn.Module):
    """Activations and dropout are functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head, self.dropout = nn.Linear(16, 32), nn.Linear(32, 32), nn.Linear(32, 4), 0.3

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = F.dropout(x, self.dropout, self.training)
        return self.head(F.relu(self.second(x)))


class Residual(nn.Module):
    """A block of a ResNet."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(size, size, 3, padding=1), nn.BatchNorm2d(size)
        self.conv2, self.norm2, self.relu = nn.Conv2d(size, size, 3, padding=1), nn.BatchNorm2d(size), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x))))))


class ResNet(nn.Module):
    """A stem, two blocks, and a head after functional global pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 5)  # defined first, runs last
        self.stem, self.blocks = nn.Conv2d(3, 8, 3, stride=2), nn.Sequential(Residual(8), Residual(8))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


class ConvNeXt(nn.Module):
    """One block with channels last, and its head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 4, stride=4), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.up, self.act, self.down = nn.LayerNorm(8), nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)
        self.last, self.head = nn.LayerNorm(8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        x = x + self.down(self.act(self.up(y))).permute(0, 3, 1, 2)
        return self.head(self.last(x.mean((2, 3))))


class Words(nn.Module):
    """A language model with an LSTM; its output weights are tied to the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(50, 16), nn.Linear(16, 50)
        self.first, self.second = nn.LSTM(16, 16, batch_first=True), nn.LSTM(16, 16, num_layers=2, batch_first=True)
        self.head.weight = self.words.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.second(self.first(self.words(ids))[0])[0])


class Shared(nn.Module):
    """A dropout module with two parents, functional attention, and a dropout call that ignores the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.drop = nn.Dropout(0.3)
        self.held = nn.ModuleList([self.drop])

    def forward(self, x: Tensor) -> Tensor:
        x = self.held[0](torch.relu(self.first(self.drop(x))))
        heads = self.second(x).view(len(x), 1, 4, 4)
        x = x + F.scaled_dot_product_attention(heads, heads, heads, dropout_p=0.1 if self.training else 0.0).flatten(1)
        return self.head(F.dropout(x, 0.2))


def mlp() -> nn.Sequential:
    hidden = nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.0), nn.Linear(32, 32), nn.GELU()
    return nn.Sequential(*hidden, nn.Linear(32, 4))


def convolutional() -> nn.Sequential:
    maps = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*maps, nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))


def attention() -> nn.Transformer:
    return nn.Transformer(16, 2, 1, 1, 32, dropout=0.2, batch_first=True)


SEQUENCES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(5))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "mlp": (mlp, X),
    "functional mlp": (FunctionalMLP, X),
    "convolutional": (convolutional, MAPS),
    "resnet": (ResNet, MAPS),
    "convnext": (ConvNeXt, MAPS),
    "words": (Words, IDS.remainder(50)),
    "shared": (Shared, X),
    "transformer": (attention, (SEQUENCES, SEQUENCES)),
}
PRETRAINED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "bert": (lambda: transformers.BertModel(transformers.BertConfig(**SMALL)), TEXT),
    "gpt2": (lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2)), TEXT),
    "llama": (lambda: transformers.LlamaForCausalLM(transformers.LlamaConfig(**SMALL)), TEXT),
    "vit": (lambda: transformers.ViTModel(transformers.ViTConfig(**VIT)), PIXELS),
    "t5": (lambda: transformers.T5Model(transformers.T5Config(**T5)), BOTH),
    "whisper": (lambda: transformers.WhisperModel(transformers.WhisperConfig(**WHISPER)), SOUND),
}


def run(model: nn.Module, example: Any, training: bool | None = None) -> list[Tensor]:
    """Returns the output tensors of a model at one seed; the model is restored."""
    with preserve_state(model, seed=7), torch.no_grad():
        if training is not None:
            model.train(training)
        if isinstance(example, dict):
            out = model(**example)
        else:
            out = model(*example) if isinstance(example, tuple) else model(example)
    return [leaf for leaf in tree_leaves(dict(out) if hasattr(out, "keys") else out) if isinstance(leaf, Tensor)]


def picture(model: nn.Module) -> list[Any]:
    """Returns every module, hook and attribute of a model by identity and in order, and its numbers by value."""
    found: list[Any] = []
    for name, module in model.named_modules(remove_duplicate=False):
        for attribute, value in sorted(vars(module).items()):
            entries = [*value.items()] if isinstance(value, dict) and attribute.startswith("_") else [("", value)]
            found += [(name, attribute, key, held if isinstance(held, (bool, float)) else id(held)) for key, held in entries]
    return found
