"""Accelerate: the rng is saved and loaded with everything else."""

import tempfile

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.rng.sample_ids import collate, indexed, split

x = torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
data = indexed(TensorDataset(x, x[:, :1]))


def train(save: str | None = None, load: str | None = None) -> list[torch.Tensor]:
    accelerator = Accelerator(cpu=True)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(32, 1))
    rng = thinnet.DropoutRNG(seed=0).bind(model)
    loader = DataLoader(data, batch_size=16, collate_fn=collate())
    model, optimizer, loader = accelerator.prepare(model, torch.optim.SGD(model.parameters(), lr=0.05), loader)
    accelerator.register_for_checkpointing(rng)
    if load:
        accelerator.load_state(load)
    start = 0 if rng.step is None else rng.step + 1
    for step, batch in enumerate(loader):
        if step < start:
            continue
        ids, (inputs, targets) = split(batch)
        rng.at(step, ids)
        accelerator.backward(nn.functional.mse_loss(model(inputs), targets))
        optimizer.step()
        optimizer.zero_grad()
        if save and step == 2:
            accelerator.save_state(save)
    return [value.detach().clone() for value in model.parameters()]


with tempfile.TemporaryDirectory() as folder:
    through = train(save=folder)
    torch.manual_seed(12345)
    resumed = train(load=folder)
print(f"weights equal after resume: {all(torch.equal(a, b) for a, b in zip(through, resumed, strict=True))}")
