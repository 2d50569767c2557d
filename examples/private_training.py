"""Differentially private training with Opacus: each sample has its own mask, also in the gradients of each sample."""

import warnings

import torch
from opacus import PrivacyEngine
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet

warnings.filterwarnings("ignore")  # Opacus warns that its generator is not cryptographic
digits = load_digits()
x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), thinnet.nn.Dropout(0.2), nn.Linear(128, 10))
loader = DataLoader(TensorDataset(x[:1500], y[:1500], torch.arange(1500)), batch_size=150)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
engine = PrivacyEngine()
private, optimizer, loader = engine.make_private(
    module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
)
rng = thinnet.DropoutRNG(seed=0).bind(private)
for _ in range(5):
    for rows, labels, ids in loader:  # Opacus draws the batches, so their sizes differ
        rng.advance(ids)
        optimizer.zero_grad()
        nn.functional.cross_entropy(private(rows), labels).backward()
        optimizer.step()
accuracy = (private.eval()(x[1500:]).argmax(-1) == y[1500:]).float().mean()
print(f"accuracy {float(accuracy):.2f} at epsilon {engine.get_epsilon(delta=1e-4):.1f}, delta 1e-4")

private.train()
optimizer.zero_grad()
rng.at(9, samples=[3, 7])
nn.functional.cross_entropy(private(x[[3, 7]]), y[[3, 7]]).backward()
of_seven = private._module[0].weight.grad_sample[1].clone()
optimizer.zero_grad()
rng.at(9, samples=[7])
nn.functional.cross_entropy(private(x[[7]]), y[[7]]).backward()
same = torch.allclose(of_seven, private._module[0].weight.grad_sample[0], atol=1e-6)
print(f"gradients of sample 7, in a batch and alone, equal: {same}")
