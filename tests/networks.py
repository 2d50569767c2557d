"""Networks with every kind of randomness, each on a line or in a module that a test can name."""

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet


class HandWritten(nn.Module):
    """Hand-written drop-path: uniform numbers that are rounded down, or a Bernoulli mask."""

    def __init__(self, p: float, scale_first: bool) -> None:
        super().__init__()
        self.drop_prob, self.scale_first = p, scale_first

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = 1 - self.drop_prob
        shape = x.shape[:1] + (1,) * (x.ndim - 1)
        if self.scale_first:
            return x.div(keep) * (keep + torch.rand(shape)).floor_()
        return x * torch.bernoulli(torch.full(shape, keep)) / keep


class Everything(nn.Module):
    """One line for each kind of randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.shared = nn.Linear(16, 16), nn.Dropout(0.3)
        self.path, self.norm = HandWritten(0.2, True), nn.BatchNorm1d(16)
        self.ours, self.channels, self.noise = (
            thinnet.nn.Dropout(0.4),
            thinnet.nn.Dropout1d(0.25),
            thinnet.nn.GaussianDropout(0.2),
        )
        self.lstm = nn.LSTM(16, 16, 2, dropout=0.5, batch_first=True)
        self.attention = nn.MultiheadAttention(16, 2, dropout=0.1, batch_first=True)
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.unused, self.zero = nn.Dropout(0.7), nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.linear(x))
        x = self.shared(torch.tanh(x))
        x = F.dropout(x, 0.25)
        x = F.dropout(x.sin(), 0.15, self.training)
        x = self.channels(self.ours(self.path(x)))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.attention(*[self.lstm(x)[0]] * 3)[0]
        x = self.zero(self.noise(x))
        for layer in self.layers:
            if random.random() < 0.3 and self.training:
                continue
            x = layer(x)
        mask = torch.bernoulli(torch.full((len(x), 1, 16), 0.8))
        x = x * mask if self.training else x
        x = x + torch.randn_like(x) * 0.1
        x = x[:, torch.randperm(x.shape[1])[:5]]
        x = x.masked_fill(torch.rand_like(x) < 0.15, 0.0)
        return F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], dropout_p=0.2)


class Checkpointed(nn.Module):
    """A block that is recomputed for the backward pass, with or without the generator state of the forward pass."""

    def __init__(self, preserve: bool, dropout: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), dropout, nn.Linear(32, 32))
        self.preserve = preserve

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.block, x, use_reentrant=False, preserve_rng_state=self.preserve)


class FixedDropBlock(nn.Module):
    """The formula of the paper, with block centres also where a block does not fit."""

    def __init__(self, p: float, block: int, factor_of_mask: bool = True) -> None:
        super().__init__()
        self.drop_prob, self.block, self.factor_of_mask = p, block, factor_of_mask

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        (height, width), block = x.shape[-2:], self.block
        gamma = self.drop_prob * height * width / block**2 / ((height - block + 1) * (width - block + 1))
        mask = 1 - F.max_pool2d(torch.empty_like(x).bernoulli_(gamma), block, 1, block // 2)
        return x * mask * (mask.numel() / mask.sum().add(1e-7) if self.factor_of_mask else 1 / (1 - self.drop_prob))


class Adapter(nn.Module):
    """A low-rank adapter at its initialisation: dropout before a product with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.down, self.up = nn.Linear(16, 16), nn.Linear(16, 4, bias=False), nn.Linear(4, 16, bias=False)
        self.lora_dropout = nn.Dropout(0.5)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(self.lora_dropout(x)))


class Counting(nn.Module):
    """Changes its attributes, buffers and parameters in every forward pass, and has a generator of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.register_buffer("seen", torch.zeros(()))
        self.steps, self.log, self.generator = 0, [], torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        self.log.append(float(torch.rand((), generator=self.generator)))
        self.seen = self.seen + 1
        with torch.no_grad():
            self.linear.weight.mul_(0.9)
        return self.drop(self.norm(self.linear(x)))
