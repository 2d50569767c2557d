"""The module that `to_torch` gives."""

import copy

import torch
from torch import Tensor, nn

from thinnet.inference.calibration.fitting import log_probabilities


class Averaged(nn.Module):
    """The average of several networks: the mean of values, or the logarithm of the mean of probabilities.

    Args:
        members: networks of one output shape.
        temperature: divides the logarithm of the mean probabilities; None for values.
    """

    def __init__(self, members: list[nn.Module], temperature: float | None) -> None:
        super().__init__()
        self.members, self.temperature = nn.ModuleList(members), temperature

    def forward(self, x: Tensor) -> Tensor:
        """Returns the average, (N, outputs)."""
        outputs = torch.stack([member(x) for member in self.members])
        return outputs.mean(0) if self.temperature is None else log_probabilities(outputs, self.temperature)


def rescaled(network: nn.Sequential, scale: Tensor, shift: Tensor) -> nn.Sequential:
    """Returns a copy whose outputs are those of the network times `scale` plus `shift`, both (outputs,)."""
    found = copy.deepcopy(network)
    last = found[-1]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight.copy_(last.weight.double() * scale[:, None])
        last.bias.copy_(last.bias.double() * scale + shift)
    return found
