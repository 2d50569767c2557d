"""Monte-Carlo dropout for regression, calibrated: how many targets of held-out patients lie in the 95 % intervals?"""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

import thinnet

data = load_diabetes()
order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
x, y = torch.tensor(data.data).float()[order], torch.tensor(data.target).float()[order]
train, validation, test = slice(0, 242), slice(242, 342), slice(342, None)
x = (x - x[train].mean(0)) / x[train].std(0)
y = ((y - y[train].mean()) / y[train].std())[:, None]

torch.manual_seed(0)
model = nn.Sequential(
    *(nn.Linear(10, 64), nn.ReLU(), thinnet.nn.Dropout(0.1)),
    *(nn.Linear(64, 64), nn.ReLU(), thinnet.nn.Dropout(0.1)),
    nn.Linear(64, 1),
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
for _ in range(150):
    optimizer.zero_grad()
    nn.functional.mse_loss(model(x[train]), y[train]).backward()
    optimizer.step()

draws = thinnet.inference.sample(model, x[test], n=100, seed=0)
low, high = draws.quantiles([0.025, 0.975])
inside = ((low <= y[test]) & (y[test] <= high)).float().mean()
print(f"without calibration, {float(inside):.0%} of the targets lie in the 95 % intervals of the draws")
print("The draws spread by what the network does not know. The noise of the targets is not in them: calibration adds it.\n")

found = thinnet.inference.calibrate(model, validation=(x[validation], y[validation]), test=(x[test], y[test]), n=100)
print(found)

again = thinnet.inference.sample(model, x[test][:5], n=100, seed=0)
print(f"draws of five patients alone equal: {torch.allclose(again.draws, draws.draws[:, :5], atol=1e-5)}")
