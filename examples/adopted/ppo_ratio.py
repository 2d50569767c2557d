"""stable-baselines3 and torchrl: a policy with dropout under PPO (issues 535 and 3140).

PPO compares the probability of an action under the new weights with that under the old ones. With a new mask in each pass,
the ratio is not 1 even before the first step, and the clip discards samples at random. In eval mode there is no dropout to
train with. With addressed masks a sample keeps its mask, so the ratio starts at exactly 1.
"""

import copy

import torch
from torch import Tensor, nn

import thinnet


def policy() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), thinnet.nn.Dropout(0.1), nn.Linear(128, 4))


def log_probability(model: nn.Module, states: Tensor, actions: Tensor) -> Tensor:
    return torch.distributions.Categorical(logits=model(states)).log_prob(actions)


torch.manual_seed(0)
states, actions = torch.randn(256, 8), torch.randint(4, (256,))
model = policy().train()
old = log_probability(model, states, actions).detach()
ratio = (log_probability(model, states, actions) - old).exp()
print(f"broken: the ratio is off before any step, by up to {float((ratio - 1).abs().max()):.2f}")
print(f"a new mask moves the ratio: {bool((ratio - 1).abs().max() > 0.01)}")

rng, ids = thinnet.DropoutRNG(seed=0).bind(model), torch.arange(256)
rng.at(step=0, samples=ids)  # one step for each rollout, and an id for each state
old = log_probability(model, states, actions).detach()
order = torch.randperm(256)
for rows in order.split(64):  # mini-batches in another order
    rng.at(step=0, samples=ids[rows])
    ratio = (log_probability(model, states[rows], actions[rows]) - old[rows]).exp()
    assert torch.allclose(ratio, torch.ones(64), atol=1e-5)
print(f"mended, the ratio starts at 1 in every mini-batch: {torch.allclose(ratio, torch.ones(64), atol=1e-5)}")

target = copy.deepcopy(model).eval()  # the target of a value network is used without dropout
print(f"a target in eval mode gives one value: {torch.equal(target(states), target(states))}")
