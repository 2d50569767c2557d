"""A GPT language model on CPython's documentation: dropout of embeddings, attention weights and both branches of a block."""

import torch
from torch import Tensor, nn

from thinnet.nn import Dropout, MultiheadAttention
from thinnet.study.networks.text import CHARACTERS, LENGTH, sequences

epochs, batch, learning_rate = 30, 32, 3e-3
rates = (0.0, 0.1, 0.2, 0.4)
HEADS = 4
data = sequences


class Block(nn.Module):
    """Attention to earlier characters, then a perceptron; each branch ends with dropout."""

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiheadAttention(width, heads, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.drop_attention, self.drop_mlp = Dropout(), Dropout()
        self.register_buffer("later", torch.ones(length, length, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.first(x)
        x = x + self.drop_attention(self.attention(normed, normed, normed, attn_mask=self.later, need_weights=False)[0])
        return x + self.drop_mlp(self.mlp(self.second(x)))


class Network(nn.Module):
    """Takes characters (N, T); returns logits (N, T, characters)."""

    def __init__(self, characters: int, length: int, width: int, heads: int = HEADS, layers: int = 2) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(characters, width), nn.Embedding(length, width)
        self.blocks, self.norm = nn.Sequential(*(Block(width, heads, length) for _ in range(layers))), nn.LayerNorm(width)
        self.drop, self.head = Dropout(), nn.Linear(width, characters)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.embedding(x) + self.position.weight)
        return self.head(self.norm(self.blocks(hidden)))


def model(characters: int = CHARACTERS, length: int = LENGTH, width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network(characters, length, HEADS * round(16 * width))
