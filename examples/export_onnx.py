"""Exports a network that was trained with dropout to ONNX. The export has no dropout and computes what eval mode computes."""

import logging
import tempfile
import warnings
from pathlib import Path

import onnxruntime
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thinnet

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)  # the exporter lists optional libraries that are missing

digits = load_digits()
x, y = torch.tensor(digits.images).float().unsqueeze(1) / 16, torch.tensor(digits.target)
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, test = order[:1300], order[1300:]

torch.manual_seed(0)
maps = nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), thinnet.nn.Dropout2d(0.2)
model = nn.Sequential(*maps, nn.Flatten(), nn.Linear(144, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for _ in range(8):
    for images, labels in DataLoader(TensorDataset(x[train], y[train]), batch_size=64, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

model.eval()
with torch.no_grad():
    expected = model(x[test])
deployed = thinnet.inference.weight_scaled(model, x[:2])  # with an example, it checks that no random operation is left
print(f"outputs in PyTorch equal bit for bit: {torch.equal(deployed(x[test]), expected)}")

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "digits.onnx"
    batch = torch.export.Dim("batch")
    torch.onnx.export(deployed, (x[:2],), file, dynamo=True, verbose=False, dynamic_shapes=({0: batch},), external_data=False)
    session = onnxruntime.InferenceSession(file)
    (out,) = session.run(None, {session.get_inputs()[0].name: x[test].numpy()})
    size = file.stat().st_size

found = torch.from_numpy(out)
accuracy = (found.argmax(1) == y[test]).float().mean()
print(f"{size / 1024:.0f} KB of ONNX, accuracy {float(accuracy):.3f} on {len(test)} unseen digits")
print(f"outputs in ONNX Runtime equal up to rounding: {torch.allclose(found, expected, atol=1e-4)}")
