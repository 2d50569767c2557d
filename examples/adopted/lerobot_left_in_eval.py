"""lerobot: after the first evaluation a policy trains on in eval mode, without dropout (issue 3668).

The evaluation switches the policy to eval mode, and only before the loop was it in training mode. Where one rank alone
evaluates, that rank trains without dropout, and the others with it. `thinnet lint` finds the loop in the source (THN109).
"""

import torch
from torch import nn

import thinnet


def evaluate(policy: nn.Module) -> None:
    policy.eval()
    with torch.no_grad():
        policy(torch.randn(64, 16))


def train(policy: nn.Module, steps: int) -> list[float]:
    """Return the share of dropped units at each step."""
    optimizer, dropped = torch.optim.SGD(policy.parameters(), lr=0.01), []
    policy.train()
    for step in range(steps):
        dropped.append(float((hidden(policy) == 0).float().mean()))
        policy(torch.randn(64, 16)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 2 == 1:
            evaluate(policy)
    return dropped


def train_mended(policy: nn.Module, steps: int) -> list[float]:
    """Return the same, with one line moved into the loop."""
    optimizer, dropped = torch.optim.SGD(policy.parameters(), lr=0.01), []
    for step in range(steps):
        policy.train()
        dropped.append(float((hidden(policy) == 0).float().mean()))
        policy(torch.randn(64, 16)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 2 == 1:
            evaluate(policy)
    return dropped


def hidden(policy: nn.Module) -> torch.Tensor:
    return policy[1](torch.ones(64, 256))


def policy() -> nn.Sequential:
    return nn.Sequential(nn.Linear(16, 256), thinnet.nn.Dropout(0.1), nn.Linear(256, 6))


broken, mended = train(policy(), 6), train_mended(policy(), 6)
print("dropped at each step:", broken)
print(f"after two steps the policy trains without dropout: {broken[0] > 0 and not any(broken[2:])}")
print(f"mended, it drops at every step: {all(share > 0.05 for share in mended)}")
