"""Distils the average of many sub-networks into one student without dropout.

Three ways to predict handwritten digits with one trained network: one pass with dropout off (weight scaling), the average of
100 passes with dropout on (Monte-Carlo), and one pass of a student trained on that average, on clean and noisy digits without
labels. The student imitates the average even where weight scaling is better.
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thinnet

digits = load_digits()
x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
generator = torch.Generator().manual_seed(0)
order = torch.randperm(len(x), generator=generator)
train, test = order[:600], order[600:]
noisy = x + 0.5 * torch.randn(x.shape, generator=generator)

torch.manual_seed(0)
hidden = nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.5)
model = nn.Sequential(*hidden, nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(40):
    for batch in torch.randperm(len(train)).split(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[train[batch]]), y[train[batch]]).backward()
        optimizer.step()

unlabelled = torch.cat([x[train], noisy[train]])[torch.randperm(2 * len(train))]
held_out = torch.cat([x[test], noisy[test]])
found = thinnet.inference.distill(model, unlabelled.split(100), held_out=held_out, epochs=25)
print(found)


def scores(p: Tensor) -> str:
    nll = -p[range(len(test)), y[test]].clamp_min(1e-12).log().mean()
    return f"{float((p.argmax(1) != y[test]).float().mean()):10.1%}{float(nll):8.2f}"


scaled = thinnet.inference.weight_scaled(model)
ways = {
    "weight scaling, 1 pass": lambda x: scaled(x).softmax(1),
    "Monte-Carlo, 100 passes": lambda x: thinnet.inference.sample(model, x, n=100).mean,
    "student, 1 pass": lambda x: found.student(x).softmax(1),
}
print(f"\n{len(test)} unseen digits{'':<9}{'error':>10}{'NLL':>8}{'noisy: error':>16}{'NLL':>8}")
for name, way in ways.items():
    with torch.no_grad():
        print(f"{name:<28}{scores(way(x[test]))}{'':>6}{scores(way(noisy[test]))}")

one, same = (thinnet.inference.distill(model, unlabelled.split(100), epochs=1) for _ in range(2))
print(f"\nlosses of the same seed equal: {one.losses == same.losses}")
