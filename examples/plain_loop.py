"""A plain loop on handwritten digits, interrupted and resumed: the same masks, the same weights."""

import io

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.rng.sample_ids import collate, indexed, split
from thinnet.schedules import Linear

digits = load_digits()
data = indexed(TensorDataset(torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)))


def build() -> tuple[nn.Module, torch.optim.Optimizer, thinnet.DropoutRNG]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 100), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(100, 10))
    rng = thinnet.DropoutRNG(seed=1, schedules={"2": Linear(0.0, 0.5, steps=40)}).bind(model)
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2), rng


def train(model: nn.Module, optimizer: torch.optim.Optimizer, rng: thinnet.DropoutRNG, epochs: range) -> None:
    for epoch in epochs:
        order = torch.Generator().manual_seed(epoch)
        for batch in DataLoader(data, batch_size=64, shuffle=True, generator=order, collate_fn=collate()):
            ids, (x, y) = split(batch)
            rng.advance(ids)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()


model, optimizer, rng = build()
train(model, optimizer, rng, range(2))
file = io.BytesIO()
parts = {"model": model, "optimizer": optimizer, "rng": rng}
torch.save({name: part.state_dict() for name, part in parts.items()}, file)
train(model, optimizer, rng, range(2, 4))

resumed, *rest = build()
file.seek(0)
for part, state in zip((resumed, *rest), torch.load(file).values(), strict=True):
    part.load_state_dict(state)
train(resumed, *rest, range(2, 4))

same = all(torch.equal(a, b) for a, b in zip(model.parameters(), resumed.parameters(), strict=True))
accuracy = (model.eval()(data.dataset.tensors[0]).argmax(1) == data.dataset.tensors[1]).float().mean()
print(f"step {rng.step}, accuracy {float(accuracy):.3f}")
print(f"weights equal after resume: {same}")
