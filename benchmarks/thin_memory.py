"""The memory of a training step, as `thinnet.bench` measures it."""

import torch
from torch import Tensor, nn

from thinnet.benchmark.memory import kept_and_peak


def bytes_of(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Returns the bytes that a forward pass keeps for backward, and the peak of forward and backward."""

    def loss() -> Tensor:
        return model(x).square().mean()

    for _ in range(2):
        loss().backward()
    return kept_and_peak(loss, x.device)


if __name__ == "__main__":
    torch.manual_seed(0)
    print(bytes_of(nn.Sequential(nn.Linear(256, 1024), nn.ReLU(), nn.Linear(1024, 10)), torch.randn(512, 256)))
