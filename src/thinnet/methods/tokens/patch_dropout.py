"""Patch dropout: keeps a random subset of each image's patches."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.numbers import part_of
from thinnet.methods.pictures import TILE, tiles, untiled
from thinnet.ops import check_input
from thinnet.ops.kept import smallest
from thinnet.ops.take import take
from thinnet.rng import NoiseKey, Site, rates


def kept_patches(patches: int, p: float) -> int:
    """Returns the number of patches that stay.

    >>> kept_patches(196, 0.5), kept_patches(10, 0.3), kept_patches(4, 0.99), kept_patches(10, 0.15)
    (98, 7, 1, 9)
    """
    return min(patches, max(1, part_of(patches, 1 - p, nearest=True)))


def definition(x: Tensor, u: Tensor, p: float, prefix: int = 1, ordered: bool = True) -> Tensor:
    """Returns the prefix and the patches with the smallest noise, in their own order or in that of their noise."""
    kept = kept_patches(x.shape[1] - prefix, p)
    order = [sorted(range(u.shape[1]), key=lambda patch, row=row: float(row[patch]))[:kept] for row in u]
    rows = [[*range(prefix), *(prefix + patch for patch in (sorted(row) if ordered else row))] for row in order]
    return torch.stack([sample[row] for sample, row in zip(x, rows, strict=True)])


FACTS = Facts(
    domain="[0, 1)",
    definition=definition,
    noise="uniform",
    noise_shape=lambda shape, prefix=1, ordered=True: (shape[0], shape[1] - prefix),
    independent=False,
    used_by=(Use("timm", "timm.layers.PatchDropout(prob)"),),
)


def keep(key: NoiseKey | None, x: Tensor, p: float, prefix: int, ordered: bool, function: str) -> tuple[Tensor, Tensor]:
    """Returns the tokens that stay, and their indices in `x`."""
    if x.ndim != 3 or x.shape[1] <= prefix:
        raise ValueError(f"{function}: x must be (N, T, D) with T > prefix = {prefix}; got shape {tuple(x.shape)}.")
    check_input(x, function)
    samples, tokens = x.shape[:2]
    everything = torch.arange(tokens, device=x.device).expand(samples, tokens)
    kept = kept_patches(tokens - prefix, p)
    if key is None or kept == tokens - prefix:
        return x, everything
    noise = key.uniform((samples, tokens - prefix))
    if ordered:
        chosen, _ = smallest(torch.nn.functional.pad(noise, (0, 1)), kept, kept, 0.0)
    else:
        chosen = noise.argsort(dim=1, stable=True)[:, :kept]
    places = torch.cat((everything[:, :prefix], chosen + prefix), dim=1)
    rows = places + tokens * torch.arange(samples, device=x.device)[:, None]
    return take(x.flatten(0, 1), rows.reshape(1, -1), None).view(*places.shape, x.shape[2]), places


def checked(function: str, prefix: object) -> int:
    """Returns the number of prefix tokens, or raises a ValueError."""
    if type(prefix) is not int or prefix < 0:
        raise ValueError(f"{function}: prefix must be an integer from 0 up; got {prefix!r}. It counts class tokens.")
    return prefix


def patch_dropout(
    x: Tensor,
    p: float = 0.5,
    *,
    prefix: int = 1,
    ordered: bool = True,
    return_indices: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Functional form of `PatchDropout`.

    Args:
        x: `(N, T, D)`, prefix tokens first, then L = T - prefix patches.
        training: whether to drop; all tokens are returned if not.
        generator: source of the seed; by default torch's generator of the device.

    Returns: `(N, prefix + k, D)`, and if requested the indices `(N, prefix + k)` in axis 1 of `x`.

    >>> x = torch.randn(8, 1 + 196, 32)
    >>> y, places = patch_dropout(x, 0.75, return_indices=True, training=True)
    >>> y.shape, torch.equal(y[:, 0], x[:, 0]), torch.equal(y[3, 5], x[3, places[3, 5]])
    (torch.Size([8, 50, 32]), True, True)
    """
    if not isinstance(x, Tensor):
        return no_tensor(patch_dropout, locals())
    prefix, p = checked("patch_dropout", prefix), rates.check("patch_dropout", p, below_one=True)
    key = draw_key("patch_dropout", x, p, training, generator, below_one=True)
    y, places = keep(key, x, p, prefix, ordered, "patch_dropout")
    return (y, places) if return_indices else y


class PatchDropout(Site):
    """Keeps a random subset of each image's patches, of fixed size, and removes the others from the sequence.

        y[n] = (prefix tokens of x[n], k of its L patches),  k = max(1, L (1 - p) rounded to the nearest integer, halves up)

    The k patches with the smallest of L uniform numbers. Removed patches are absent, not zero: the following layers cost k / L
    of the time, attention its square. Nothing is scaled. In eval all tokens stay.

    Noise shape: exactly k of the L patches of a sample.
    Use when: in a vision transformer after positions are added, to train on large images or for longer.
    Avoid when: layers need the grid, such as windows and convolutions; or every patch is predicted.
    Start with: p = 0.5 with one prefix token.
    Cost: it saves time: the following layers process k of L tokens. The indices are stored.
    Other implementations: timm PatchDropout rounds L (1 - p) down, as the paper does, and keeps the order only on request.

    Args:
        p: fraction of patches that are removed, rounded to a whole number of patches.
        prefix: number of leading tokens that always stay: 1 for a class token, more with registers, 0 for none.
        ordered: whether patches stay in order. It matters if positions are added later, as rotary ones are.
        return_indices: whether indices into the input are returned too, for other data by token such as positions or targets.

    Shapes: `(N, T, D)` to `(N, prefix + k, D)`, and if requested indices `(N, prefix + k)`; all tokens in eval.

    Raises: ValueError if `p` is not in [0, 1), `prefix` is below 0, or an input has other axes or no patches; TypeError if it
        is an integer, bool, quantised or sparse tensor.

    Source: Liu, Matsoukas, Strand, Azizpour, Smith 2023, WACV, arXiv:2208.07220.

    >>> PatchDropout(0.5)(torch.randn(8, 1 + 196, 32)).shape
    torch.Size([8, 99, 32])
    """

    below_one = True

    def __init__(self, p: float = 0.5, prefix: int = 1, ordered: bool = True, return_indices: bool = False) -> None:
        super().__init__(p)
        self.prefix = checked("PatchDropout", prefix)
        self.ordered, self.return_indices = ordered, return_indices

    def drop(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:  # type: ignore[override]
        key = self.key(x)
        y, places = keep(key, x, self.p or 0.0, self.prefix, self.ordered, "PatchDropout")
        return (y, places) if self.return_indices else y

    def extra_repr(self) -> str:
        return f"p={self.p}, prefix={self.prefix}, ordered={self.ordered}, return_indices={self.return_indices}"


def _picture(picture: Tensor) -> Tensor:
    """Returns a picture without its dropped patches."""
    patches = tiles(picture).flatten(2)
    kept, places = patch_dropout(patches, 0.5, prefix=0, return_indices=True, training=True)
    whole = torch.zeros_like(patches).scatter(1, places[..., None].expand_as(kept), kept)
    return untiled(whole.unflatten(2, TILE), picture.shape[1])


METHODS = (Method(FACTS, PatchDropout, patch_dropout, _picture),)
