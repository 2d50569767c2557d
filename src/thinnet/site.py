"""A module that tosses coins, and where it reads their names: drawn for each call, or from the clock of a bound model."""

import torch
from torch import Tensor, fx, nn

from thinnet import ops, rates
from thinnet.calls import Calls, mix
from thinnet.ops import Rule


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Returns a fresh 64-bit seed from torch's default generator of the device, or from `generator`: a 0-d int64 tensor."""
    if torch.compiler.is_compiling() and torch.is_grad_enabled():
        from torch._functorch import config  # loaded with the compiler, not with torch

        if config.activation_memory_budget < 1:
            from thinnet import tracing

            return tracing.draw_outside(_draw, device, generator)
    return _draw(device, generator)


def _draw(device: torch.device, generator: torch.Generator | None) -> Tensor:
    if generator is None:
        return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=device)
    return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=generator.device, generator=generator).to(device)


def capturing(device: torch.device) -> bool:
    """Returns whether the work of a device is being captured as a CUDA graph now."""
    return device.type == "cuda" and not torch.compiler.is_compiling() and torch.cuda.is_current_stream_capturing()


class Clock:
    """Where a run is: the seed, the step, and the samples of the batch. The sites of one bound model share one clock.

    What a forward pass reads is never written to afterwards, only replaced, so that a backward pass that comes after the
    next `at` still tosses the coins of its own forward pass. A captured CUDA graph reads the same memory at each replay, so
    `at` writes into what a graph was captured with; samples of another number than at the capture are not for that graph.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.calls = Calls()
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


class Site(nn.Module):
    """A module that tosses coins: it has a rate, and a name for its coins once a model is bound.

    The rate is a buffer that is not saved, so a checkpoint has the same keys as with PyTorch's classes. `site.p = 0.3`
    changes it, checked, and nothing compiled is compiled again.
    """

    rate: Tensor
    site: Tensor | None
    below_one = False

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.clock: Clock | None = None
        self.name: str | None = None
        self.calls = 0  # uses in the forward pass that runs, or in the last one
        self._captured: Tensor | None = None  # the rate that CUDA graphs read
        self.register_buffer("rate", None, persistent=False)
        self.register_buffer("site", None, persistent=False)
        self.p = p

    @property
    def p(self) -> float:
        """The probability of dropping."""
        return self._p

    @p.setter
    def p(self, p: float) -> None:
        self._p = rates.check(type(self).__name__, p, below_one=self.below_one)
        old = self._buffers["rate"]
        with torch.inference_mode(False):
            device = None if old is None else old.device
            self._buffers["rate"] = torch.tensor(rates.count(self._p), dtype=torch.int32, device=device)
        if self._captured is not None:
            self._captured.copy_(self.rate)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the toss of `x` in training and `x` itself in eval."""
        if isinstance(x, fx.Proxy):  # a symbolic trace takes a site whole, as it takes PyTorch's
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})  # type: ignore[attr-defined]
        return self.drop(x)

    def drop(self, x: Tensor) -> Tensor:
        """Says what the method does to `x`: the grain and the rule of its toss."""
        raise NotImplementedError

    def toss(self, x: Tensor, shared: tuple[int, ...] = (), rule: Rule = Rule.INVERTED) -> Tensor:
        """Returns the toss of `x` in training, with named coins where the site is bound; `x` itself in eval."""
        if not self.training:
            return x
        if not torch.compiler.is_compiling() and self._p == 0 and not capturing(x.device):  # what is kept reads the rate
            return x
        rate = self.rate if self.rate.device == x.device else rates.tensor(self._p, x.device)
        if capturing(x.device):
            rate = self._captured = rate if self._captured is None else self._captured
        seed, step, site, samples = self._name(x)
        return ops.toss(
            x,
            rate,
            seed,
            step=step,
            site=site,
            samples=samples,
            shared=shared,
            rule=rule,
            inplace=self.inplace,
            function=type(self).__name__,
        )

    def _name(self, x: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Returns seed, step, site and samples: all of a coin's name but the unit."""
        clock = self.clock
        if clock is None or self.site is None:
            return draw_seed(x.device), None, None, None
        if not clock.started:
            raise RuntimeError(f"site {self.name!r}: its coins have no step yet. Call coins.at(step, samples=ids) first.")
        seed, step, samples = clock.tensors(x.device)
        if clock.rows_given and x.shape[:1] != samples.shape:
            raise ValueError(
                f"site {self.name!r}: axis 0 of x must count the samples given to coins.at; got x of shape"
                f" {tuple(x.shape)} and {len(samples)} samples. Bring the batch to axis 0."
            )
        call = clock.calls.number(self)
        if call:
            seed = seed ^ mix(call)
        if clock.calls.view_key is not None:
            seed = seed ^ clock.calls.view_key
        return seed, step, self.site.to(x.device), samples

    def _apply(self, fn, recurse=True):
        """Fills the rate again after it has moved: `to_empty` leaves buffers that are not saved without values."""
        super()._apply(fn, recurse)
        self.p = self._p
        return self

    def extra_repr(self) -> str:
        """Returns the rate as PyTorch's classes print it."""
        return f"p={self.p}, inplace={self.inplace}"
