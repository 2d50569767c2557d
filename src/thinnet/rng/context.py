"""Where a run is: the seed, the step and the samples of the batch, or a seed drawn for each call."""

import torch
from torch import Tensor

from thinnet.rng.calls import CallCounter


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Returns a fresh 64-bit seed from torch's default generator of the device, or from `generator`: a 0-d int64 tensor."""
    if torch.compiler.is_compiling() and torch.is_grad_enabled():
        from torch._functorch import config  # loaded with the compiler, not with torch

        if config.activation_memory_budget < 1:
            from thinnet.rng import compiling

            return compiling.draw_outside(_draw, device, generator)
    return _draw(device, generator)


def _draw(device: torch.device, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=device)
    return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=generator.device, generator=generator).to(device)


def capturing(device: torch.device) -> bool:
    """Returns whether the work of a device is being captured as a CUDA graph now."""
    return device.type == "cuda" and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing()


class RNGContext:
    """Where a run is: the seed, the step, and the samples of the batch. The sites of one bound model share one clock.

    What a forward pass reads is never written to afterwards, only replaced, so that a backward pass that comes after the
    next `at` still tosses the coins of its own forward pass. A captured CUDA graph reads the same memory at each replay, so
    `at` writes into what a graph was captured with; samples of another number than at the capture are not for that graph.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calls = CallCounter()
        self.step: int | None = None
        self.samples: Tensor | int | None = None
        self.started = self.rows_given = False  # what compiled code may ask: it would be compiled again at each new step
        self._tensors: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}
        self._captured: dict[torch.device, list[tuple[Tensor, Tensor, Tensor]]] = {}

    def at(self, step: int | None, samples: Tensor | int | None = None) -> None:
        """Goes to a step and its samples: one id for each row, or the first from which the rows count on."""
        self.calls.settle()
        if isinstance(samples, Tensor):  # the caller may fill his tensor with the next ids before the backward pass
            with torch.inference_mode(False):
                samples = samples.clone(memory_format=torch.contiguous_format)
        self.step, self.samples = step, samples
        self.started, self.rows_given = step is not None, isinstance(samples, Tensor)
        for device in self._tensors:  # the same keys each step, so that nothing compiled is compiled again
            made = self._tensors[device] = self._make(device)
            for held in self._captured.get(device, ()):
                for old, new in zip(held, made, strict=True):
                    if old.shape == new.shape:
                        old.copy_(new)

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples as int64 tensors on a device."""
        if device in self._tensors:
            return self._hold(device) if capturing(device) else self._tensors[device]
        made = self._make(device)
        if type(made[0]) is Tensor:  # a fake tensor of somebody's trace is not kept
            self._tensors[device] = made
        return made

    def _hold(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the tensors that every graph with this number of samples reads, which `at` writes into from now on."""
        now, held = self._tensors[device], self._captured.setdefault(device, [])
        for earlier in held:
            if earlier[2].shape == now[2].shape:
                return earlier
        held.append(now)
        return now

    def _make(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        seed = self.seed - (1 << 64) if self.seed >> 63 else self.seed
        first = 0 if self.samples is None else self.samples
        with torch.inference_mode(False):  # an inference tensor could not be saved for backward later
            samples = first.to(device) if isinstance(first, Tensor) else torch.full((1,), first, device=device)
            scalars = torch.tensor([seed, self.step or 0], device=device)
        return scalars[0], scalars[1], samples
