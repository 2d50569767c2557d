"""A conditional diffusion model of two moons: condition dropout trains it with and without the class, for guidance."""

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn

import thinnet

STEPS, CLASSES = 40, 2
points, classes = make_moons(2000, noise=0.05, random_state=0)
x, y = torch.tensor(points).float() - torch.tensor([0.5, 0.25]), torch.tensor(classes)
kept = torch.cumprod(1 - torch.linspace(1e-4, 0.2, STEPS), 0)  # of the signal, after each step of noise


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.drop = thinnet.nn.ConditionDropout(0.1, null=CLASSES)  # a class becomes the null class for 10 % of the samples
        self.classes, self.times = nn.Embedding(CLASSES + 1, 16), nn.Embedding(STEPS, 16)
        self.net = nn.Sequential(nn.Linear(34, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        return self.net(torch.cat([x, self.times(time), self.classes(self.drop(label))], -1))


torch.manual_seed(0)
model = Denoiser()
rng = thinnet.DropoutRNG(seed=0).bind(model)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(600):
    ids = torch.randint(len(x), (256,))
    time, noise = torch.randint(STEPS, (256,)), torch.randn(256, 2)
    noisy = kept[time, None].sqrt() * x[ids] + (1 - kept[time, None]).sqrt() * noise
    rng.at(step, samples=ids)
    optimizer.zero_grad()
    nn.functional.mse_loss(model(noisy, time, y[ids]), noise).backward()
    optimizer.step()


@torch.no_grad()
def generate(label: Tensor, guidance: float) -> Tensor:
    """Points of a class: eps = eps(null) + guidance (eps(class) - eps(null)); guidance 1 is the conditional model."""
    null, points = model.drop.unconditional(label), torch.randn(len(label), 2)
    for t in reversed(range(STEPS)):
        time = torch.full_like(label, t)
        without, given = model(points, time, null), model(points, time, label)
        noise = without + guidance * (given - without)
        before = kept[t - 1] if t else torch.ones(())
        clean = (points - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()
        points = before.sqrt() * clean + (1 - before).sqrt() * noise  # DDIM
    return points


model.eval()
for guidance in (0.0, 1.0, 2.0):
    torch.manual_seed(1)
    label = torch.arange(200) % 2
    nearest = y[torch.cdist(generate(label, guidance), x).argmin(-1)]
    print(
        f"guidance {guidance}: {float((nearest == label).float().mean()):.0%} of the points lie on the moon that was asked for"
    )
label = torch.tensor([0, 1])
print(f"classes equal in eval: {torch.equal(model.drop(label), label)}")
