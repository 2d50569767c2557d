"""A module that tosses coins, and where it reads their names: drawn for each call, or from the clock of a bound model."""

import torch
from torch import Tensor, fx, nn

from thinnet import ops
from thinnet.ops import NoiseKind
from thinnet.rng import context as contexts
from thinnet.rng import rates
from thinnet.rng.calls import mix
from thinnet.rng.key import NoiseKey
from thinnet.rng.names import site_number


class Site(nn.Module):
    """A module that tosses coins: it has a rate, and a name for its coins once a model is bound.

    The rate is a buffer that is not saved, so a checkpoint has the same keys as with PyTorch's classes. `site.p = 0.3`
    changes it, checked, and nothing compiled is compiled again.
    """

    rate: Tensor
    site: Tensor | None
    below_one = False

    def __init__(self, p: float | None = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        self.context: contexts.RNGContext | None = None
        self.name: str | None = None
        self.calls = 0  # uses in the forward pass that runs, or in the last one
        self._captured: Tensor | None = None  # the rate that CUDA graphs read
        self._p: float | None = None
        self.register_buffer("rate", torch.zeros((), dtype=torch.int32), persistent=False)
        self.register_buffer("site", None, persistent=False)
        if p is not None:
            self.p = p

    @property
    def p(self) -> float | None:
        """The probability of dropping; None where the method has no one rate: it is learned, or differs among units."""
        return self._p

    @p.setter
    def p(self, p: float) -> None:
        self._p = rates.check(type(self).__name__, p, below_one=self.below_one)
        self._count()

    def _count(self) -> None:
        device = self._buffers["rate"].device  # type: ignore[union-attr]
        with torch.inference_mode(False):
            counted = 0 if self._p is None else rates.count(self._p)
            self._buffers["rate"] = torch.tensor(counted, dtype=torch.int32, device=device)
        if self._captured is not None:
            self._captured.copy_(self.rate)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the toss of `x` in training and `x` itself in eval."""
        if isinstance(x, fx.Proxy):  # a symbolic trace takes a site whole, as it takes PyTorch's
            return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})  # type: ignore[attr-defined]
        return self.drop(x)

    def drop(self, x: Tensor) -> Tensor:
        """Says what the method does to `x`: the grain and the rule of its toss, or what it makes of its draw."""
        raise NotImplementedError

    def apply_noise(self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED) -> Tensor:
        """Returns the toss of `x` in training, with named coins where the site is bound; `x` itself in eval."""
        if not self.training:
            return x
        if (
            not torch.compiler.is_compiling() and self._p == 0 and not contexts.capturing(x.device)
        ):  # what is kept reads the rate
            return x
        seed, step, site, samples = self._name(x, 0)
        return ops.apply_noise(
            x,
            self._rate(x.device),
            seed,
            step=step,
            site=site,
            samples=samples,
            shared_axes=shared_axes,
            kind=kind,
            inplace=self.inplace,
            function=type(self).__name__,
        )

    def key(self, x: Tensor, batch: int | None = 0) -> NoiseKey | None:
        """Returns the coins of this use, for a method that is more than a toss; None in eval, where there are none.

        Args:
            x: what the site was called with: it says the device, and how many samples there are.
            batch: the axis of `x` that counts the samples; None where the samples of a batch share their coins.
        """
        return NoiseKey(type(self).__name__, self._rate(x.device), self._name(x, batch)) if self.training else None

    def _rate(self, device: torch.device) -> Tensor:
        rate = self.rate if self.rate.device == device else rates.tensor(self._p or 0.0, device)
        if contexts.capturing(device):
            rate = self._captured = rate if self._captured is None else self._captured
        return rate

    def _name(self, x: Tensor, batch: int | None) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Returns seed, step, site and samples: all of a coin's name but the unit."""
        context = self.context
        if context is None or self.site is None:
            return contexts.draw_seed(x.device), None, None, None
        if not context.started:
            raise RuntimeError(f"site {self.name!r}: its coins have no step yet. Call rng.at(step, samples=ids) first.")
        seed, step, samples = context.tensors(x.device)
        if batch is not None and context.rows_given and (x.ndim <= batch or x.shape[batch] != samples.shape[0]):
            raise ValueError(
                f"site {self.name!r}: axis {batch} of x must count the samples given to rng.at; got x of shape"
                f" {tuple(x.shape)} and {len(samples)} samples. Bring the batch to axis {batch}."
            )
        call = context.calls.number(self)
        if call:
            seed = seed ^ mix(call)
        if context.calls.view_key is not None:
            seed = seed ^ context.calls.view_key
        site = self.site
        if site.device != x.device:  # without waiting for the other device
            site = torch.tensor(site_number(self.name or ""), device=x.device)
        return seed, step, site, samples if batch is not None else None

    def _apply(self, fn, recurse=True):
        """Fills the rate again after it has moved: `to_empty` leaves buffers that are not saved without values."""
        super()._apply(fn, recurse)
        self._count()
        return self

    def extra_repr(self) -> str:
        """Returns the rate as PyTorch's classes print it."""
        return "" if self.p is None else f"p={self.p}, inplace={self.inplace}"
