"""Losses of two views of each sample: R-Drop makes their predictions agree, SimCSE their embeddings."""

import pydoc_data.topics

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thinnet


def two_passes(model: nn.Module, rng: thinnet.DropoutRNG, x: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs of the same samples under two masks."""
    first = model(x)
    with rng.view(1):
        return first, model(x)


digits = load_digits()
x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), thinnet.nn.Dropout(0.3), nn.Linear(128, 10))
rng = thinnet.DropoutRNG(seed=0).bind(model)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(100):
    ids = torch.randperm(1000)[:64]
    rng.at(step, samples=ids)
    optimizer.zero_grad()
    thinnet.losses.r_drop_loss(*two_passes(model, rng, x[ids]), y[ids], alpha=1.0).backward()
    optimizer.step()
accuracy = (model.eval()(x[1000:]).argmax(-1) == y[1000:]).float().mean()
print(f"R-Drop: accuracy {float(accuracy):.3f}")

pages = [page for page in pydoc_data.topics.topics.values() if len(page) > 400][:64]
texts = torch.tensor([[min(ord(letter), 127) for letter in page[100:228]] for page in pages])
encoder = nn.Sequential(nn.Embedding(128, 64), thinnet.nn.Dropout(0.1), nn.Flatten(), nn.Linear(128 * 64, 64))
rng = thinnet.DropoutRNG(seed=0).bind(encoder)
optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)


def similarities(first: Tensor, second: Tensor) -> Tensor:
    return nn.functional.normalize(first, dim=-1) @ nn.functional.normalize(second, dim=-1).T


for step in range(20):
    rng.at(step)
    optimizer.zero_grad()
    logits = similarities(*two_passes(encoder, rng, texts)) / 0.05
    nn.functional.cross_entropy(logits, torch.arange(len(texts))).backward()  # the other view of a text is its positive
    optimizer.step()
between = similarities(encoder.eval()(texts), encoder(texts))
different = (between.sum() - between.trace()) / (between.numel() - len(texts))
print(f"SimCSE: mean similarity of different texts {different.item():.2f}")

encoder.train()
rng.at(0)
first, second = two_passes(encoder, rng, texts)
print(f"the two views of the texts differ: {not torch.equal(first, second)}")
print(f"the first view, drawn again, equal: {torch.equal(first, encoder(texts))}")
