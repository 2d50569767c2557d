"""One use of a site: the rate, and all of a coin's name but the unit. What every method that is more than a toss asks for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet import ops
from thinnet.ops import NoiseKind
from thinnet.rng import rates


class NoiseKey:
    """The coins of one use of a site. Asked twice for the same shape it gives the same, so a method asks once for all it needs.

    Args:
        function: the name that an error gives.
        rate: the rate in 65536ths, a 0-d int32 tensor on the device of what is tossed.
        name: seed, step, site and samples, as `ops.apply_noise` takes them. With samples, axis 0 of a shape counts
            them; without, the whole shape is one sample.

    >>> draw = NoiseKey("example", torch.tensor(32768, dtype=torch.int32), (torch.tensor(3), None, None, None))
    >>> draw.mask((8,)).tolist()
    [True, False, True, False, True, False, False, True]
    >>> float(draw.p), float(draw.scale)
    (0.5, 2.0)
    """

    def __init__(
        self,
        function: str,
        rate: Tensor,
        name: tuple[Tensor, Tensor | None, Tensor | None, Tensor | None],
    ) -> None:
        self.function, self.rate, self.name = function, rate, name

    @property
    def p(self) -> Tensor:
        """The delivered rate: a 0-d float32 tensor, so that another rate is no other code."""
        return self.rate / rates.RESOLUTION

    @property
    def scale(self) -> Tensor:
        """1 / (1 - p) at the delivered rate, and 0 where everything is dropped: a 0-d float32 tensor."""
        kept = rates.RESOLUTION - self.rate
        return torch.where(kept == 0, 0.0, rates.RESOLUTION / kept)

    def apply_noise(
        self, x: Tensor, shared_axes: tuple[int, ...] = (), kind: NoiseKind = NoiseKind.INVERTED, inplace: bool = False
    ) -> Tensor:
        """Returns `rule(coin, x)` with one coin for the axes in `shared`, and keeps no mask for the backward pass."""
        return self._apply_noise(x, self.rate, shared_axes, kind, inplace)

    def mask(self, shape: Sequence[int]) -> Tensor:
        """Returns one coin for each place of `shape`, kept or not: a bool tensor. True, with probability 1 - p, is kept."""
        return self._apply_noise(self._full(shape, 1.0), self.rate) != 0

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Returns uniform numbers u in (0, 1), odd multiples of 2^-24, in float32. For a rate r, `u >= r` keeps a unit."""
        return self._apply_noise(
            self._full(shape, 0.5), rates.tensor(0.25, self.rate.device), kind=NoiseKind.UNIFORM
        )  # width 1

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Returns standard normal numbers in float32."""
        return (
            self._apply_noise(self._full(shape, 1.0), rates.tensor(0.5, self.rate.device), kind=NoiseKind.GAUSSIAN) - 1
        )  # sigma 1

    def _full(self, shape: Sequence[int], value: float) -> Tensor:
        return torch.full(tuple(shape), value, device=self.rate.device)

    def _apply_noise(
        self,
        x: Tensor,
        rate: Tensor,
        shared_axes: tuple[int, ...] = (),
        kind: NoiseKind = NoiseKind.INVERTED,
        inplace: bool = False,
    ) -> Tensor:
        seed, step, site, samples = self.name
        return ops.apply_noise(
            x,
            rate,
            seed,
            step=step,
            site=site,
            samples=samples,
            shared_axes=shared_axes,
            kind=kind,
            inplace=inplace,
            function=self.function,
        )
