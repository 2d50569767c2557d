"""Regularise three image networks: a ResNet with DropBlock, a ConvNeXt and a Swin transformer with stochastic depth."""

import torch
import transformers
from sklearn.datasets import load_digits
from torch import Tensor, nn

import thinnet

digits = load_digits()
x = torch.tensor(digits.images).float()[:256, None].repeat(1, 3, 1, 1) / 16
images, labels = nn.functional.interpolate(x, size=32), torch.tensor(digits.target)[:256]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)),
        )
        self.block = thinnet.nn.DropBlock2d(0.1, block=3)  # drops 10 % at every size of the map

    def forward(self, x: Tensor) -> Tensor:
        return self.block((x + self.branch(x)).relu())


def resnet() -> nn.Module:
    stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    return nn.Sequential(
        *stem, Residual(16), nn.MaxPool2d(2), Residual(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def convnext() -> nn.Module:
    sizes = {"hidden_sizes": [16, 32], "depths": [1, 2], "num_stages": 2, "patch_size": 2}
    return transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**sizes, drop_path_rate=0.2, num_labels=10))


def swin() -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 4], "window_size": 4}
    return transformers.SwinForImageClassification(transformers.SwinConfig(**sizes, drop_path_rate=0.2, num_labels=10))


def loss_of(model: nn.Module) -> Tensor:
    output = model(images)
    return nn.functional.cross_entropy(getattr(output, "logits", output), labels)


def with_sites(old: nn.Module) -> nn.Module:
    return thinnet.nn.DropPath(getattr(old, "drop_prob", 0.0))  # an Identity has rate 0, which a schedule can raise


for make in (resnet, convnext, swin):
    torch.manual_seed(0)
    model = make().eval()
    before = loss_of(model)
    if make is not resnet:
        print(thinnet.replace(model, {"*.drop_path": with_sites}))
    print(f"{make.__name__}: losses in eval equal: {torch.equal(before, loss_of(model))}")
    place = "*block" if make is resnet else "*.drop_path"
    rates = thinnet.schedules.DepthWise(thinnet.schedules.Linear(0.0, 0.2, steps=10))  # more with depth and with the steps
    rng = thinnet.DropoutRNG(seed=0, schedules={place: rates}).bind(model.train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for step in range(10):
        rng.at(step)
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
    print(f"{make.__name__}: loss {loss.item():.2f} after 10 steps\n")
