"""Diagnoses a network on handwritten digits with and without dropout, and writes a page for each."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import thinnet

digits = load_digits()
x, y = torch.tensor(digits.data).float() / 16, torch.tensor(digits.target)
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, test = (x[order[:600]], y[order[:600]]), (x[order[600:]], y[order[600:]])


def trained(p: float) -> nn.Module:
    torch.manual_seed(0)
    hidden = [nn.Linear(64, 128), nn.ReLU(), thinnet.nn.Dropout(p), nn.Linear(128, 128), nn.ReLU(), thinnet.nn.Dropout(p)]
    model = nn.Sequential(*hidden, nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        for ids in torch.randperm(600).split(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train[0][ids]), train[1][ids]).backward()
            optimizer.step()
    return model


for p in (0.0, 0.5):
    found = thinnet.diagnose(trained(p), train, test, orders=2)
    print(f"\n=== p = {p:g} ===\n\n{found}")
    print(f"\nwritten: {found.html(f'diagnosis-{p:g}.html')}")
