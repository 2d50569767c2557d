"""Lightning Fabric: the masks of a sample do not depend on how the batch is split for gradient accumulation."""

import torch
from lightning.fabric import Fabric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet
from thinnet.rng.sample_ids import collate, indexed, split

torch.manual_seed(0)
x = torch.randn(96, 8)
data = indexed(TensorDataset(x, x[:, :1]))
fabric = Fabric(accelerator="cpu", devices=1)
fabric.launch()


def train(rows: int) -> tuple[list[torch.Tensor], dict[tuple[int, int], list[bool]]]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), thinnet.nn.Dropout(0.5), nn.Linear(32, 1))
    masks: dict[tuple[int, int], list[bool]] = {}
    rng = thinnet.DropoutRNG(seed=0).bind(model)
    model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.05))
    for step, batch in enumerate(fabric.setup_dataloaders(DataLoader(data, batch_size=32, collate_fn=collate()))):
        ids, (inputs, targets) = split(batch)
        for i in range(0, 32, rows):
            part = slice(i, i + rows)
            rng.at(step, ids[part])
            loss = nn.functional.mse_loss(model(inputs[part]), targets[part], reduction="sum") / 32
            fabric.backward(loss)
            kept = rng.mask("2", step=step, samples=ids[part], shape=(32,))
            masks |= {(step, int(name)): row for name, row in zip(ids[part], kept.tolist(), strict=True)}
        optimizer.step()
        optimizer.zero_grad()
    return [value.detach() for value in model.parameters()], masks


whole, parts = train(32), train(8)
close = all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole[0], parts[0], strict=True))
print(f"masks equal: {whole[1] == parts[1]}")
print(f"weights equal to rounding: {close}")
