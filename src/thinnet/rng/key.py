"""NoiseKey: what determines the random bits of one use of a site."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thinnet import ops
from thinnet.ops import NoiseKind
from thinnet.ops.part import Part
from thinnet.rng import rates


@dataclass(eq=False, slots=True)
class NoiseKey:
    """The random bits of one use of a site. The same key and shape give the same bits, so a method asks once for all it needs.

    Args:
        function: the name in error messages.
        rate: the rate in 65536ths, a 0-d int32 tensor on the device of the data.
        seed: a 0-d int64 tensor, like `step` and `site`, which are 0 where they are None.
        step: the step.
        site: the number of the site.
        samples: sample ids, int64; axis 0 of a shape counts them. Without them the whole shape is one sample.
        part: which part of a tensor that ranks share the noise is for.

    >>> key = NoiseKey("example", torch.tensor(32768, dtype=torch.int32), torch.tensor(3))
    >>> key.mask((8,)).tolist()
    [True, False, True, False, True, False, False, True]
    >>> float(key.p), float(key.scale)
    (0.5, 2.0)
    """

    function: str
    rate: Tensor
    seed: Tensor
    step: Tensor | None = None
    site: Tensor | None = None
    samples: Tensor | None = None
    part: Part | None = None

    @property
    def address(self) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        """Seed, step, site and samples: the address without the unit."""
        return self.seed, self.step, self.site, self.samples

    @property
    def p(self) -> Tensor:
        """The delivered rate: a 0-d float32 tensor, so that another rate does not recompile."""
        return self.rate / rates.RESOLUTION

    @property
    def scale(self) -> Tensor:
        """1 / (1 - p) at the delivered rate, and 0 where everything is dropped: a 0-d float32 tensor."""
        kept = rates.RESOLUTION - self.rate
        return torch.where(kept == 0, 0.0, rates.RESOLUTION / kept)

    def apply_noise(
        self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED, inplace: bool = False
    ) -> Tensor:
        """Applies noise to `x` and keeps no mask for the backward pass. The axes in `shared_axes` have the same noise."""
        return self._at_rate(self.rate, x, shared_axes, kind, inplace)

    def mask(self, shape: Sequence[int]) -> Tensor:
        """Returns a bool tensor of `shape`. True, with probability 1 - p, is kept."""
        return self.apply_noise(self._full(shape, 1.0)) != 0

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Returns uniform numbers u in (0, 1), odd multiples of 2^-24, in float32. For a rate r, `u >= r` keeps a unit."""
        quarter = rates.tensor(0.25, self.rate.device)  # noise of width 1
        return self._at_rate(quarter, self._full(shape, 0.5), kind=NoiseKind.UNIFORM)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Returns standard normal numbers in float32."""
        half = rates.tensor(0.5, self.rate.device)  # noise of sigma 1
        return self._at_rate(half, self._full(shape, 1.0), kind=NoiseKind.GAUSSIAN).sub_(1)

    def _full(self, shape: Sequence[int], value: float) -> Tensor:
        if self.part is not None:
            rule = f"DropoutParallel cuts noise that has the shape of the input; got {self.function}"
            raise TypeError(f"{rule}. Take it out of the plan, and gather its input: PrepareModuleInput.")
        return torch.full(tuple(shape), value, device=self.rate.device)

    def _at_rate(
        self,
        rate: Tensor,
        x: Tensor,
        shared_axes: tuple[int, ...] = (),
        kind: NoiseKind = NoiseKind.INVERTED,
        inplace: bool = False,
    ) -> Tensor:
        return ops.apply_noise(
            x,
            rate,
            self.seed,
            step=self.step,
            site=self.site,
            samples=self.samples,
            shared_axes=shared_axes,
            kind=kind,
            inplace=inplace,
            part=self.part,
            function=self.function,
        )
