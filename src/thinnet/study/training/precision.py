"""The device and the precision of a training: PyTorch's autocast, and the scaling of the loss that float16 needs."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

AS_IT_IS = "32-true"
TRUE = {"bf16-true": torch.bfloat16, "16-true": torch.float16, "64-true": torch.float64}
"""The dtype of the weights and of all operations."""

MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""The dtype of the operations that autocast chooses. The weights are float32."""

SHORT = {"64": "64-true", "32": AS_IT_IS, "bf16": "bf16-mixed", "16": "16-mixed"}


class Precision:
    """The device and the dtypes of a training.

    Args:
        device: cpu, cuda, mps, or auto for the accelerator of this machine.
        name: a precision, such as 32-true or bf16-mixed.
        index: the number of the device among those of its kind.

    Raises:
        ValueError: this machine does not have the device, or there is no such precision.
    """

    def __init__(self, device: str, name: str, index: int = 0) -> None:
        name = SHORT.get(name, name)
        if name not in {AS_IT_IS, *TRUE, *MIXED}:
            raise ValueError(f"precisions: {', '.join([AS_IT_IS, *TRUE, *MIXED])}")
        self.device = _device(device, index)
        self.mixed = name in MIXED
        self.dtype = (TRUE | MIXED).get(name)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=name == "16-mixed")

    def model(self, network: nn.Module) -> nn.Module:
        """Moves and converts a network in place; returns the model to train."""
        network.to(self.device, None if self.mixed else self.dtype)
        return network if self.dtype is None else Converted(network, self)

    def backward(self, loss: Tensor) -> None:
        """Computes the gradients of a loss, scaled where float16 would lose small ones."""
        self.scaler.scale(loss).backward()

    @contextmanager
    def operations(self) -> Iterator[None]:
        """Computes in the precision while the context is open."""
        if self.mixed:
            with torch.autocast(self.device.type, self.dtype):
                yield
            return
        assert self.dtype is not None  # else `model` has converted nothing
        before = torch.get_default_dtype()
        torch.set_default_dtype(self.dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


class Converted(nn.Module):
    """A network that computes in a precision, from and to the default dtype."""

    def __init__(self, network: nn.Module, precision: Precision) -> None:
        super().__init__()
        self.network, self._precision = network, precision

    def forward(self, x: Tensor) -> Tensor:
        with self._precision.operations():
            output = self.network(x.to(self._precision.dtype) if x.is_floating_point() else x)
        return output.to(torch.get_default_dtype())


class Scaled:
    """An optimiser that takes the gradients of a scaled loss, and no step where they overflow."""

    def __init__(self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
        self._optimizer, self._scaler = optimizer, scaler

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        self._optimizer.zero_grad()

    def step(self) -> None:
        """Takes a step."""
        self._scaler.step(self._optimizer)
        self._scaler.update()


def _device(name: str, index: int) -> torch.device:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    kind = "cpu" if accelerator is None else accelerator.type
    if name == "cpu" or (name == "auto" and kind == "cpu"):
        return torch.device("cpu")
    if name not in ("auto", "gpu", kind) or index >= torch.accelerator.device_count():
        count = f" and {kind}, {torch.accelerator.device_count()} of them" if accelerator else ""
        raise ValueError(f"devices of this machine: cpu{count}")
    return torch.device(kind, index)
