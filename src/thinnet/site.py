"""A module that tosses coins, and where it reads their names: drawn for each call, or from the clock of a bound model."""

import torch
from torch import Tensor, nn

from thinnet import ops, rates
from thinnet.ops import Rule
from thinnet.ops.schema import traced


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Returns a fresh 64-bit seed from torch's default generator of the device, or from `generator`: a 0-d int64 tensor."""
    source = device if generator is None else generator.device
    return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=source, generator=generator).to(device)


class Clock:
    """Where a run is: the seed, the step, and the samples of the batch. The sites of one bound model share one clock.

    What a forward pass reads is never written to afterwards, only replaced, so that a backward pass that comes after the
    next `at` still tosses the coins of its own forward pass.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.step: int | None = None
        self.samples: Tensor | int | None = None
        self._tensors: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def at(self, step: int | None, samples: Tensor | int | None = None) -> None:
        """Goes to a step and its samples: one id for each row, or the first from which the rows count on."""
        self.step, self.samples = step, samples
        for device in self._tensors:  # the same keys each step, so that nothing compiled is compiled again
            self._tensors[device] = self._make(device)

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Returns seed, step and samples as int64 tensors on a device."""
        if device not in self._tensors:
            self._tensors[device] = self._make(device)
        return self._tensors[device]

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

    def toss(self, x: Tensor, shared: tuple[int, ...] = (), rule: Rule = Rule.INVERTED) -> Tensor:
        """Returns the toss of `x` in training, with named coins where the site is bound; `x` itself in eval."""
        if not self.training or (not traced() and self._p == 0):  # compiled code has to read the rate, not know it
            return x
        function = type(self).__name__
        rate = self.rate if self.rate.device == x.device else rates.tensor(self._p, x.device)
        if self.clock is None:
            return ops.toss(
                x, rate, draw_seed(x.device), shared=shared, rule=rule, inplace=self.inplace, function=function
            )
        seed, step, samples = self._named(x, self.clock)
        assert self.site is not None
        return ops.toss(
            x,
            rate,
            seed,
            step=step,
            site=self.site.to(x.device),
            samples=samples,
            shared=shared,
            rule=rule,
            inplace=self.inplace,
            function=function,
        )

    def _named(self, x: Tensor, clock: Clock) -> tuple[Tensor, Tensor, Tensor]:
        if clock.step is None:
            raise RuntimeError(f"site {self.name!r}: its coins have no step yet. Call coins.at(step, samples=ids) first.")
        if isinstance(clock.samples, Tensor) and x.shape[:1] != clock.samples.shape:
            raise ValueError(
                f"site {self.name!r}: axis 0 of x must count the samples given to coins.at; got x of shape"
                f" {tuple(x.shape)} and {len(clock.samples)} samples. Bring the batch to axis 0."
            )
        return clock.tensors(x.device)

    def extra_repr(self) -> str:
        """Returns the rate as PyTorch's classes print it."""
        return f"p={self.p}, inplace={self.inplace}"


