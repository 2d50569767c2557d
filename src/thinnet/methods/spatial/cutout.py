"""Cutout: sets one square of each input image to zero."""

from collections.abc import Sequence

import torch
from torch import Tensor

from thinnet.methods import spans
from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.elementwise.selection import where_kept
from thinnet.methods.facts import Facts, Method
from thinnet.ops import check_input
from thinnet.rng import NoiseKey, Site


def checked(function: str, size: object) -> int:
    """Returns the side of the square, or raises a ValueError."""
    if type(size) is not int or size < 1:
        raise ValueError(f"{function}: size must be a positive integer; got {size!r}. It is a side in pixels: 16 on 32 x 32.")
    return size


def cut_share(length: int, size: int) -> Tensor:
    """Returns the probability of each position of an axis to be cut: the share of centres whose square covers it.

    >>> (4 * cut_share(4, 2)).tolist()  # the square of the paper extends further to the left
    [2.0, 2.0, 2.0, 1.0]
    """
    place, half = torch.arange(length, dtype=torch.float64), size // 2
    return ((place + half).clamp(max=length - 1) - (place + half - size + 1).clamp(min=0) + 1).clamp(min=0) / length


def expected_drop(shape: Sequence[int], size: int = 16) -> float:
    """Returns the exact expected share of an image that is cut; it depends on the shape as well as on the side."""
    return float(cut_share(shape[-2], size).mean() * cut_share(shape[-1], size).mean())


def mean(x: Tensor, size: int = 16) -> Tensor:
    """Returns x (1 - c), with c the probability of a pixel to be cut."""
    return x * (1 - torch.outer(cut_share(x.shape[-2], size), cut_share(x.shape[-1], size)))


def variance(x: Tensor, size: int = 16) -> Tensor:
    """Returns x^2 c (1 - c)."""
    c = torch.outer(cut_share(x.shape[-2], size), cut_share(x.shape[-1], size))
    return x * x * c * (1 - c)


def definition(x: Tensor, u: Tensor, size: int = 16) -> Tensor:
    """Returns `x` without the square around the pixel floor(u (H, W)) of each sample."""
    y = x.clone()
    for sample, (row, column) in enumerate((u * torch.tensor(x.shape[-2:])).long().tolist()):
        top, left = row - size // 2, column - size // 2
        y[sample, :, max(0, top) : max(0, top + size), max(0, left) : max(0, left + size)] = 0
    return y


FACTS = Facts(
    domain="no rate: the size determines how much is cut",
    mean=mean,
    variance=variance,
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, **_: (shape[0], 2),
    independent=False,
)


def _cut(key: NoiseKey, x: Tensor, size: int) -> Tensor:
    if x.ndim != 4:
        raise ValueError(
            f"{key.function}: x must be (N, C, H, W); got shape {tuple(x.shape)}. Add a batch axis with x.unsqueeze(0)."
        )
    check_input(x, key.function)
    u, cut = key.uniform((len(x), 2)), torch.ones((), dtype=torch.bool, device=x.device)
    for axis in (0, 1):
        length = x.shape[2 + axis]
        inside = spans.inside(spans.start(u[:, axis], length) - size // 2, size, length)
        cut = cut & (inside[:, None, :, None] if axis == 0 else inside[:, None, None, :])
    return where_kept(x, ~cut)


def cutout(x: Tensor, size: int = 16, *, training: bool, generator: torch.Generator | None = None) -> Tensor:
    """Functional form of `Cutout`.

    Args:
        x: `(N, C, H, W)`.
        training: whether to cut; `x` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> y = cutout(torch.ones(64, 3, 32, 32), 16, training=True)
    >>> y.shape, int((y == 0).sum(dim=(1, 2, 3)).max()) <= 3 * 16 * 16
    (torch.Size([64, 3, 32, 32]), True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(cutout, locals())
    size = checked("cutout", size)
    key = draw_key("cutout", x, 1.0, training, generator)  # every image loses its square
    return x if key is None else _cut(key, x, size)


class Cutout(Site):
    """Sets one square of each image to zero, at a random place and in all channels; the other pixels are unchanged.

        y[n, c, i, j] = 0 where a <= i < a + s and b <= j < b + s, else x
        a = k - floor(s/2),  b = l - floor(s/2),  k ~ Uniform{0 .. H-1},  l ~ Uniform{0 .. W-1}

    The centre (k, l) is any pixel, so a square may lie partly outside of the image. Other pixels are not scaled, so the output
    is smaller on average. There is no rate: `size` determines how much is cut.

    Noise shape: one square per image.
    Use when: on normalised input images, where zero is the mean colour.
    Avoid when: the input is a feature map, where DropBlock fits; or small details determine the label.
    Start with: size 16 on CIFAR-10, 8 on CIFAR-100, 20 on SVHN, all of 32 x 32 pixels.
    Cost: two random numbers per sample, and a selection.
    Other implementations: torchvision RandomErasing also draws area and aspect ratio, and its rectangle is never outside of the
        image. For odd s, the authors' code cuts a square of side s - 1.

    Args:
        size: side of the square in pixels.

    Shapes: `(N, C, H, W)`; the output has the shape of the input.

    Raises: ValueError if `size` is no positive integer, or the input has other axes; TypeError if it is an integer, bool,
        quantised or sparse tensor.

    Source: DeVries and Taylor 2017, arXiv:1708.04552.

    >>> Cutout(16)(torch.randn(8, 3, 32, 32)).shape
    torch.Size([8, 3, 32, 32])
    """

    one_rate = False

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        self.size = checked("Cutout", size)

    def drop(self, x: Tensor) -> Tensor:
        key = self.key(x)
        return x if key is None else _cut(key, x, self.size)

    def extra_repr(self) -> str:
        return f"size={self.size}"


METHODS = (Method(FACTS, Cutout, cutout, lambda x: cutout(x[None, None], x.shape[0] // 2, training=True)[0, 0]),)
