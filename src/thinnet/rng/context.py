"""The RNG context of a bound model: seed, step and sample ids. Without one, each call draws a seed."""

import threading
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import unset_fake_temporarily
from torch.compiler import is_compiling

from thinnet.rng.calls import CallCounter
from thinnet.rng.fake import faked, is_faking
from thinnet.rng.mapped import IN_VMAP, has_ended, is_mapped

CPU = torch.device("cpu")
LOW, HIGH = -(1 << 63), (1 << 63) - 1
Tensors = tuple[Tensor, Tensor, Tensor]


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Returns a fresh 64-bit seed from torch's default generator of the device, or from `generator`: a 0-d int64 tensor."""
    if is_compiling() and torch.is_grad_enabled():
        from torch._functorch import config  # loaded with the compiler, not with torch

        if config.activation_memory_budget < 1:
            from thinnet.rng import compiling

            return compiling.draw_outside(_draw, device, generator)
    return _draw(device, generator)


def _draw(device: torch.device, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        # On a GPU, a launch of its own: the host can read the offset of a CUDA generator, but setting it takes no lock, and
        # makes cuDNN initialise the states of its own dropout again.
        return torch.randint(LOW, HIGH, (), device=device)
    return torch.randint(LOW, HIGH, (), device=generator.device, generator=generator).to(device)


def capturing(device: torch.device) -> bool:
    """Returns whether a CUDA graph is capturing the work of a device now."""
    return device.type == "cuda" and not is_compiling() and torch.cuda.is_current_stream_capturing()


class Place:
    """What one call of `at` sets, and its tensors by device."""

    def __init__(self, step: int | None = None, samples: Tensor | int | None = None) -> None:
        self.step, self.samples = step, samples
        self.started, self.rows_given = step is not None, isinstance(samples, Tensor)  # a step would recompile each time
        self.ids_given, self.mapped = samples is not None, isinstance(samples, Tensor) and is_mapped(samples)
        self.tensors: dict[torch.device, Tensors] = {}


class _OfThread(threading.local):
    def __init__(self) -> None:
        self.place: Place | None = None  # what this thread set; its absence means the last one of any thread


class RNGContext:
    """Seed, step and sample ids. The sites of a bound model share one context.

    A thread reads the place that it set itself. A thread that set none reads the last one of any thread.

    `at` replaces tensors and does not write to them, so that a backward pass after the next `at` still has the masks of its
    forward pass. A captured CUDA graph reads the same memory at each replay, so `at` writes into the tensors that a graph was
    captured with. A graph keeps the number of samples of its capture.
    """

    def __init__(self, seed: int) -> None:
        self.reseed(seed)
        self.calls = CallCounter()
        self.rng: Any = None  # the DropoutRNG; private contexts have none
        self._last, self._own = Place(), _OfThread()
        self._threads: set[int] = set()
        self._captured: dict[torch.device, list[Tensors]] = {}

    def reseed(self, seed: int) -> None:
        """Sets the seed of the steps that follow."""
        self.seed = seed
        self._constants: tuple[Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Returns what a copy shares: the seed, and no step."""
        return {"seed": self.seed, "calls": self.calls, "rng": self.rng}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Makes a context without a step."""
        RNGContext.__init__(self, state["seed"])
        vars(self).update(state)

    @property
    def place(self) -> Place:
        """What the last `at` set, for this thread."""
        return self._own.place or self._last

    @property
    def step(self) -> int | None:
        """The step; None before the first `at`."""
        return self.place.step

    @property
    def started(self) -> bool:
        """Whether there is a step."""
        return self.place.started

    @property
    def rows_given(self) -> bool:
        """Whether each row has its own sample id."""
        return self.place.rows_given

    def at(self, step: int | None, samples: Tensor | int | None = None) -> None:
        """Sets the step and its samples: one id for each row, or the first from which the rows count on."""
        self._threads.add(threading.get_ident())
        self.calls.settle(len(self._threads) == 1)
        if isinstance(samples, Tensor):  # the caller may fill his tensor with the next ids before the backward pass
            with torch.inference_mode(False):
                samples = samples.clone(memory_format=torch.contiguous_format)
        place = Place(step, samples)
        for device in self.place.tensors:  # compiled code finds the same keys at each step
            made = place.tensors[device] = self._make(place, device)
            for held in self._captured.get(device, ()):
                for old, new in zip(held, made, strict=True):
                    if old.shape == new.shape:
                        old.copy_(new)
        self._own.place = self._last = place

    def getstate(self) -> tuple[Place | None, Place]:
        """Returns what this thread and the last one have set, for `setstate`."""
        return self._own.place, self._last

    def setstate(self, state: tuple[Place | None, Place]) -> None:
        """Restores what `getstate` returned."""
        self._own.place, self._last = state

    def move_to(self, step: int) -> None:
        """Sets a step for a look at the model: its rows count from 0, and captured graphs keep their own step."""
        place = Place(step)
        place.tensors = {device: self._make(place, device) for device in self.place.tensors}
        self._own.place = self._last = place

    def tensors(self, device: torch.device) -> Tensors:
        """Returns seed, step and samples as int64 tensors on a device."""
        place = self.place
        if place.mapped and has_ended(place.samples):  # type: ignore[arg-type]
            raise RuntimeError(
                "DropoutRNG: the sample ids are those of torch.func.vmap, which has ended. Call rng.at(step, samples=ids)."
            )
        if is_faking():
            return self._made(place, device)
        if device in place.tensors:
            return self._hold(place, device) if capturing(device) else place.tensors[device]
        if is_compiling() and CPU in place.tensors:  # made in a trace, the step would be a constant
            seed, step, samples = place.tensors[CPU]
            return seed.to(device), step.to(device), samples.to(device)
        made = self._make(place, device)
        if type(made[0]) is Tensor:  # the fake tensors of a trace are not kept
            place.tensors[device] = made
        return made

    def other_rows(self, name: str | None, x: Tensor, batch: int, samples: Tensor) -> Tensor:
        """Refuses an input whose axis does not count the samples; a context may return other sample ids for it."""
        hint = (
            IN_VMAP
            if is_mapped(x)
            else f"Give an id for each row, rng.at(step, samples=ids), or bring the batch to axis {batch}."
        )
        raise ValueError(
            f"site {name!r}: axis {batch} of x must count the samples given to rng.at; got x of shape"
            f" {tuple(x.shape)} and {len(samples)} samples. {hint}"
        )

    def _hold(self, place: Place, device: torch.device) -> Tensors:
        """Returns the tensors that every graph with this number of samples reads. `at` writes into them from now on."""
        now, held = place.tensors[device], self._captured.setdefault(device, [])
        for earlier in held:
            if earlier[2].shape == now[2].shape:
                return earlier
        held.append(now)
        return now

    def _make(self, place: Place, device: torch.device) -> Tensors:
        if torch.is_inference_mode_enabled() or is_faking():  # what they make serves no training step later
            with torch.inference_mode(False), unset_fake_temporarily():
                return self._made(place, device)
        return self._made(place, device)

    def _made(self, place: Place, device: torch.device) -> Tensors:
        step, first = torch.full((), place.step or 0, device=device), place.samples
        shared = device == CPU and type(step) is Tensor  # graphs write to those of a GPU, and a trace has fake ones
        seed, zero = self._constants if shared and self._constants else self._seed_and_zero(device, shared)
        if first is None:
            return seed, step, zero
        return seed, step, moved(faked(first), device) if isinstance(first, Tensor) else torch.full((1,), first, device=device)

    def _seed_and_zero(self, device: torch.device, shared: bool) -> tuple[Tensor, Tensor]:
        """Returns the seed and the sample id 0, which all steps may share."""
        seed = self.seed - (1 << 64) if self.seed >> 63 else self.seed
        made = torch.full((), seed, device=device), torch.full((1,), 0, device=device)
        if shared:
            self._constants = made
        return made


def model_context(context: Any) -> Any:
    """Returns the RNG context of the bound model, behind those of branches; None where there is none."""
    while context is not None and not isinstance(context, RNGContext):
        context = context.context
    return context


def moved(ids: Tensor, device: torch.device) -> Tensor:
    """Returns `ids` on a device. The CPU does not wait for a GPU: it copies from pinned memory."""
    if ids.device.type == "cpu" and device.type == "cuda" and type(ids) is Tensor and not is_mapped(ids):
        return ids.pin_memory().to(device, non_blocking=True)
    return ids.to(device)
