"""A small GPT on CPython's documentation. Gradient accumulation draws the masks of the whole batch."""

import pydoc_data.topics

import torch
from torch import Tensor, nn

import thinnet

LENGTH, WIDTH, HEADS, LAYERS, RATE = 64, 64, 4, 2, 0.1
TEXT = torch.tensor([min(ord(letter), 127) for letter in "".join(pydoc_data.topics.topics.values())])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.project = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
        self.attention = thinnet.nn.AttentionDropout(RATE)  # softmax, dropout and product in one call; off in eval
        self.residual, self.residual2 = thinnet.nn.Dropout(RATE), thinnet.nn.Dropout(RATE)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        heads = self.attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.residual(self.project(heads))
        return x + self.residual2(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(128, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.drop = thinnet.nn.Dropout(RATE)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 128))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.blocks(self.drop(self.tokens(tokens) + self.places.weight[: tokens.shape[1]])))


def loss_of(model: nn.Module, starts: Tensor) -> Tensor:
    rows = TEXT[starts[:, None] + torch.arange(LENGTH + 1)]
    return nn.functional.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())


def gradients(model: nn.Module, rng: thinnet.DropoutRNG, step: int, starts: Tensor, parts: int) -> list[Tensor]:
    """The gradients of a batch that is computed in several parts."""
    model.zero_grad()
    for part in starts.chunk(parts):
        rng.at(step, samples=part)  # the id of a sample is its place in the text
        (loss_of(model, part) / parts).backward()
    return [parameter.grad for parameter in model.parameters()]


torch.manual_seed(0)
model = GPT()
rng = thinnet.DropoutRNG(seed=0).bind(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for step in range(60):
    starts = torch.randint(len(TEXT) - LENGTH, (32,))
    gradients(model, rng, step, starts, parts=1)
    optimizer.step()
print(f"loss {loss_of(model.eval(), torch.arange(256)).item():.2f} nats a letter after 60 steps")

model.train()
whole, accumulated = gradients(model, rng, 60, starts, parts=1), gradients(model, rng, 60, starts, parts=4)
same = all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, accumulated, strict=True))
print(f"gradients of one batch and of four micro-batches equal: {same}")
