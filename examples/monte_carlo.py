"""Monte-Carlo dropout on handwritten digits: uncertain predictions, and a shift that the uncertainty does not detect."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import thinnet
from thinnet.inference import sample

digits = load_digits()
order = torch.randperm(len(digits.data), generator=torch.Generator().manual_seed(0))
x, y = torch.tensor(digits.data).float()[order] / 16, torch.tensor(digits.target)[order]
train, test = slice(0, 1000), slice(1000, None)

torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2)),
    *(nn.Linear(128, 128), nn.ReLU(), nn.Dropout(0.5)),
    nn.Linear(128, 10),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x[train]), y[train]).backward()
    optimizer.step()
model.eval()

found = sample(model, x[test], n=50, seed=0)
print(found)
print(found.enough(0.02))

right = found.mean.argmax(-1) == y[test]
print(f"accuracy {float(right.float().mean()):.3f}")
print(f"mutual information, right {float(found.mutual_information[right].mean()):.3f}", end=", ")
print(f"wrong {float(found.mutual_information[~right].mean()):.3f} nats")

rotated = x[test].reshape(-1, 8, 8).rot90(1, (1, 2)).flatten(1)
upright, turned = (float(sample(model, images, n=50).mutual_information.mean()) for images in (x[test], rotated))
print(f"mutual information, upright {upright:.3f}, rotated by 90 degrees {turned:.3f} nats")

ids = torch.tensor([5, 3])
few = sample(model, x[test][ids], n=50, seed=0, samples=ids)
print(f"draws of two samples alone equal those in the batch: {torch.allclose(few.draws, found.draws[:, ids], atol=1e-4)}")

rng = thinnet.DropoutRNG(seed=0).bind(nn.Sequential(*(thinnet.nn.Dropout(0.2) if i == 2 else nn.Identity() for i in range(3))))
kept = rng.mask("2", step=7, samples=ids, shape=(128,))
print(f"draw 7 of these samples keeps {int(kept[0].sum())} and {int(kept[1].sum())} of 128 units of the first hidden layer")
