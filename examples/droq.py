"""The critics of DroQ (Hiraoka et al. 2022) on a point mass, 20 updates a step; and when thinned updates pay off."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

import thinnet

STEPS, UPDATES, BATCH, DISCOUNT = 30, 20, 128, 0.9


def of_paper(width: int) -> nn.Module:
    """Dropout before layer normalisation, at a small rate. Normalisation reads all units, so none can be skipped."""
    first, second = ((nn.Linear(size, width), thinnet.nn.Dropout(0.01), nn.LayerNorm(width), nn.ReLU()) for size in (3, width))
    return nn.Sequential(*first, *second, nn.Linear(width, 1))


def without_norm(width: int) -> nn.Module:
    """Without normalisation and at a larger rate, updates can skip the dropped units."""
    first, second = ((nn.Linear(size, width), nn.ReLU(), thinnet.nn.Dropout(0.5)) for size in (3, width))
    return nn.Sequential(*first, *second, nn.Linear(width, 1))


def act(state: Tensor) -> Tensor:
    return (-state.sum(-1, keepdim=True) + 0.3 * torch.randn(len(state), 1)).clamp(-1, 1)


def move(state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    """A point on a line: its place and speed after a push, and the reward for being near zero."""
    speed = 0.9 * state[:, 1:] + 0.1 * action
    after = torch.cat([state[:, :1] + 0.1 * speed, speed], -1)
    return after, -after.square().sum(-1, keepdim=True)


def returns(state: Tensor, action: Tensor) -> Tensor:
    """The discounted rewards of 100 steps: what Q should be."""
    total = torch.zeros(len(state), 1)
    for step in range(100):
        state, reward = move(state, action)
        total, action = total + DISCOUNT**step * reward, act(state)
    return total


def train(make: Callable[[int], nn.Module]) -> None:
    torch.manual_seed(0)
    critics = nn.ModuleList([make(128), make(128)])
    targets = copy.deepcopy(critics)  # they stay in training mode, with masks of their own
    optimizer, replay = torch.optim.Adam(critics.parameters(), lr=1e-3), []
    for _ in range(STEPS):
        state, action = torch.rand(16, 2) * 2 - 1, torch.rand(16, 1) * 2 - 1
        after, reward = move(state, action)
        replay.append(torch.cat([state, action, reward, after], -1))
        for _ in range(UPDATES):
            rows = torch.cat(replay)[torch.randint(16 * len(replay), (BATCH,))]
            after = torch.cat([rows[:, 4:], act(rows[:, 4:])], -1)
            with torch.no_grad():
                goal = rows[:, 3:4] + DISCOUNT * torch.min(targets[0](after), targets[1](after))
            optimizer.zero_grad()
            sum(nn.functional.mse_loss(critic(rows[:, :3]), goal) for critic in critics).backward()
            optimizer.step()
            for old, new in zip(targets.parameters(), critics.parameters(), strict=True):
                old.data.lerp_(new.data, 0.05)
    state, action = torch.rand(500, 2) * 2 - 1, torch.rand(500, 1) * 2 - 1
    with torch.no_grad():
        error = (critics.eval()[0](torch.cat([state, action], -1)) - returns(state, action)).square().mean().sqrt()
    print(
        f"{make.__name__}: RMSE of Q {error.item():.2f}, standard deviation of the returns {returns(state, action).std():.2f}"
    )


train(of_paper)
train(without_norm)
print("\nTime of an update of one wide critic:")
print(thinnet.bench(without_norm(1024), torch.randn(256, 3), seconds=0.5, compiled=False))
