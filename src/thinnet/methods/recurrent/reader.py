"""The recurrent part of the gates, W_hh (m h), and its gradients."""

import torch
from torch import Tensor

from thinnet.methods.numbers import times


class Reader:
    """Computes W_hh (m h), with one mask or with one per gate."""

    def __init__(self, weight: Tensor, mask: Tensor | None) -> None:
        self.weight, self.mask = weight, mask
        self.tied = mask is None or mask.ndim == 2
        self.gates = 1 if mask is None or self.tied else len(mask)
        self.per_gate = weight.unflatten(0, (self.gates, -1))
        self.room = None if mask is None else torch.empty_like(mask, dtype=weight.dtype)

    def read(self, h: Tensor, add: Tensor, out: Tensor) -> None:
        """Writes `add + W_hh (m h)`."""
        if self.mask is not None:
            h = torch.mul(h, self.mask, out=self.room)
        if self.tied:
            torch.addmm(add, h, self.weight.t(), out=out)
        else:
            found = torch.bmm(h, self.per_gate.transpose(1, 2)).transpose(0, 1)
            split = (self.gates, -1)
            torch.add(add.unflatten(-1, split), found, out=out.unflatten(-1, split))

    def back(self, d: Tensor, out: Tensor) -> Tensor:
        """Writes the gradient of h, given that of the gates, and returns it."""
        if self.tied:
            torch.mm(d, self.weight, out=out)
            return out if self.mask is None else out.mul_(self.mask)
        found = torch.bmm(d.unflatten(-1, (self.gates, -1)).transpose(0, 1), self.per_gate)
        return torch.sum(found.mul_(self.mask), 0, out=out)  # type: ignore[arg-type]

    def weight_gradient(self, d: Tensor, h: Tensor) -> Tensor:
        """Returns the gradient of W_hh: one product for all steps, or one per gate if each has its own mask."""
        if self.tied:
            read = h if self.mask is None else times(h, self.mask)
            return d.flatten(0, 1).t() @ read.flatten(0, 1)
        parts = zip(d.unflatten(-1, (self.gates, -1)).unbind(2), self.mask, strict=True)  # type: ignore[arg-type]
        return torch.cat([part.flatten(0, 1).t() @ times(h, mask).flatten(0, 1) for part, mask in parts])
