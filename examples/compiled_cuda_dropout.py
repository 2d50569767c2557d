"""Compiled dropout on a GPU with torch 2.13, pytorch#198333: neighbouring channels share a mask, and backward uses another one.

The compiler draws four numbers at once where their offsets are no neighbours: here behind `transpose(1, 2).contiguous()`.
`thinnet.audit` finds the wrong gradients, and `thinnet.nn.Dropout` in the same compiled block has the right masks.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet

P, BATCH, CHANNELS, LENGTH = 0.5, 8, 64, 4096


class Block(nn.Module):
    """Two layers, and dropout between them, which is computed again for backward."""

    def __init__(self, dropout: nn.Module) -> None:
        super().__init__()
        self.mix, self.dropout, self.out = nn.Conv1d(CHANNELS, CHANNELS, 1), dropout, nn.Linear(CHANNELS, CHANNELS)

    def dropped(self, x: Tensor) -> Tensor:
        """Returns `x`, `(B, C, L)`, as `(B, L, C)` with dropout."""
        return self.dropout(x.transpose(1, 2).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        """Returns `(B, L, C)`."""
        return self.out(checkpoint(self.dropped, self.mix(x), use_reentrant=False))


def copied_channels(mask: Tensor) -> float:
    """Returns the share of channels whose mask equals that of the channel before; by chance none does."""
    return float((mask[..., 1:] == mask[..., :-1]).flatten(0, -2).all(0).float().mean())


def masks(block: Block, device: str, backend: str) -> tuple[Tensor, Tensor]:
    """Returns which elements the forward pass keeps, and which the gradient says it kept, `(B, L, C)`."""
    x = torch.ones(BATCH, CHANNELS, LENGTH, device=device, requires_grad=True)
    y = torch.compile(lambda x: checkpoint(block.dropped, x, use_reentrant=False), backend=backend)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    return y != 0, gradient.transpose(1, 2) != 0


def report(dropout: nn.Module, device: str, backend: str = "inductor") -> dict[str, object]:
    """Returns what a compiled block with this dropout does."""
    block = Block(dropout).to(device)
    forward, backward = masks(block, device, backend)
    findings = thinnet.audit(torch.compile(block, backend=backend), torch.randn(2, CHANNELS, LENGTH // 8, device=device))
    return {
        "channels with the mask of their neighbour": f"{copied_channels(forward):.1%}",
        "elements whose mask is the same in backward": f"{float((forward == backward).float().mean()):.1%}",
        "errors that the audit finds": [finding.rule.code for finding in findings if finding.rule.severity == "error"],
    }


def main() -> None:
    """Reports PyTorch's dropout and thinnet's."""
    if not torch.cuda.is_available():
        print("This example shows a fault of compiled dropout on a GPU; this machine has none that PyTorch can use.")
        return
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for dropout in (nn.Dropout(P), thinnet.nn.Dropout(P)):
        print(f"{type(dropout).__module__.split('.')[0]}.nn.Dropout")
        for name, value in report(dropout, "cuda").items():
            print(f"  {name}: {value}")


if __name__ == "__main__":
    main()
