"""The loop of an epoch and its optimiser."""

import copy

import pytest
import torch
from torch import nn

from thinnet.study.training.epoch import Adam


@pytest.mark.parametrize("decay", [None, 0.1])
def test_adam_has_the_numbers_of_pytorch_also_where_a_weight_has_no_gradient(decay: float | None):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2))
    theirs = copy.deepcopy(ours)
    kind, more = (torch.optim.Adam, {}) if decay is None else (torch.optim.AdamW, {"weight_decay": decay})
    pairs = (ours, Adam(ours.parameters(), 1e-2, decay)), (theirs, kind(theirs.parameters(), lr=1e-2, fused=True, **more))
    for step in range(12):
        x = torch.randn(9, 5)
        for model, optimizer in pairs:
            optimizer.zero_grad()
            (model(x) if step % 3 else model[0](x)).square().sum().backward()
            optimizer.step()
    assert all(torch.equal(*weights) for weights in zip(ours.parameters(), theirs.parameters(), strict=True))
