"""A small transformer that classifies texts: dropout of embeddings, attention weights, both branches, and the head."""

from torch import Tensor, nn

from thinnet.nn import Dropout, MultiheadAttention

epochs, batch, learning_rate = 20, 32, 1e-3
rates = (0.0, 0.1, 0.2, 0.3, 0.5)
PADDING, HEADS = 0, 4


class Block(nn.Module):
    """Attention to all words, then a perceptron; each branch ends with dropout."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = MultiheadAttention(width, heads, dropout=0.1, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop_attention, self.drop_mlp = Dropout(), Dropout()

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        normed = self.first(x)
        x = x + self.drop_attention(self.attention(normed, normed, normed, key_padding_mask=padding, need_weights=False)[0])
        return x + self.drop_mlp(self.mlp(self.second(x)))


class Network(nn.Module):
    """Takes word numbers (N, T), where 0 is padding; returns logits (N, classes) of the mean over the words."""

    def __init__(self, words: int, length: int, classes: int, width: int, heads: int = HEADS) -> None:
        super().__init__()
        self.embedding, self.position = nn.Embedding(words, width, PADDING), nn.Embedding(length, width)
        self.block, self.norm = Block(width, heads), nn.LayerNorm(width)
        self.drop, self.drop_head, self.head = Dropout(), Dropout(), nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        padding = x == PADDING
        padding = padding & ~padding.all(1, keepdim=True)  # a text without words attends to all positions
        hidden = self.norm(self.block(self.drop(self.embedding(x) + self.position.weight), padding))
        kept = (~padding).unsqueeze(-1).to(hidden.dtype)
        return self.head(self.drop_head((hidden * kept).sum(1) / kept.sum(1)))


def model(words: int, length: int, classes: int, width: float = 1.0) -> nn.Module:
    """Return the network; the study sets its rates."""
    return Network(words, length, classes, HEADS * round(16 * width))
