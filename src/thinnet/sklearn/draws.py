"""Monte-Carlo draws of the members of an estimator."""

from typing import Any

import torch
from torch import Tensor

from thinnet.inference import sample
from thinnet.rng import Site
from thinnet.sklearn.member import Member
from thinnet.sklearn.rows import blocks

SAMPLES = 50
"""The draws behind standard deviations and intervals."""


def drops(member: Member) -> bool:
    """Returns whether the network has dropout that is on in draws."""
    return any(isinstance(site, Site) and site.p for site in member.network.modules())


def draws(members: list[Member], x: Any, n: int, seed: int) -> Tensor:
    """Returns the outputs of n sub-networks, (n, N, outputs): draw t comes from member t mod the number of members.

    A sub-network is the same for all rows, so a row has the same draws in any batch. Without dropout, all draws of a member
    are its single pass.
    """
    parts = [_of_member(member, x, len(range(k, n, len(members))), seed) for k, member in enumerate(members) if k < n]
    found = parts[0].new_empty(n, *parts[0].shape[1:])
    for k, part in enumerate(parts):
        found[k :: len(members)] = part
    return found


def _of_member(member: Member, x: Any, n: int, seed: int) -> Tensor:
    if not drops(member):
        return member.outputs(x).expand(n, -1, -1)
    found = [
        sample(member.network, rows.float(), n=n, seed=seed, same_masks=True, kind="values", progress=False).draws
        for rows in blocks(x)
    ]
    return torch.cat(found, 1)
