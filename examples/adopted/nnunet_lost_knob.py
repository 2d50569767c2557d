"""nnU-Net: the rate in the plans never reaches the network (issue 1342).

A rewrite passed the argument by another name, and the factory swallowed it. `thinnet.sites` lists what really drops, so one
assertion in a test protects a setting. `thinnet.insert` adds dropout to a network that has none, with undo.
"""

import torch
from torch import nn

import thinnet


def network(channels: int = 8, dropout_p: float = 0.0, **unused: object) -> nn.Module:
    """Return a small network; whatever it does not know is ignored."""
    blocks: list[nn.Module] = []
    for before, after in ((1, channels), (channels, channels)):
        blocks += [nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after, affine=True), nn.LeakyReLU()]
        blocks += [nn.Dropout2d(dropout_p)] if dropout_p else []
    return nn.Sequential(*blocks, nn.Conv2d(channels, 2, 1))


def rates(model: nn.Module) -> list[float]:
    return [site.p for site in thinnet.sites(model, torch.randn(2, 1, 16, 16))]


plans = {"channels": 8, "dropout_op_kwargs": {"p": 0.3}}
lost = network(**plans)  # pyright: ignore[reportArgumentType]
print(f"the plans ask for 0.3, and nothing drops: {rates(lost) == []}")

mended = network(channels=8, dropout_p=plans["dropout_op_kwargs"]["p"])
print(f"mended, both blocks drop at 0.3: {rates(mended) == [0.3, 0.3]}")
print(thinnet.sites(mended, torch.randn(2, 1, 16, 16)))
