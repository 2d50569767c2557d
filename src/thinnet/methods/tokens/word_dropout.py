"""Word dropout: replaces ids of words before the embedding."""

import torch
from torch import Tensor

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method
from thinnet.rng import NoiseKey, Site
from thinnet.rng.site import recorded


def definition(ids: Tensor, u: Tensor, p: float, fill: int, keep: Tensor | None = None) -> Tensor:
    """Returns the kept ids (u >= p, or special) and `fill` elsewhere."""
    kept = u >= p if keep is None else (u >= p) | keep
    return torch.where(kept, ids, fill)


FACTS = Facts(
    expected_drop=lambda p: p,
    definition=definition,
)


def _replace(key: NoiseKey, ids: Tensor, fill: int, keep: Tensor | None) -> Tensor:
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(f"{key.function}: ids must be integers; got {ids.dtype}. Use token_dropout for vectors.")
    if keep is not None and keep.dtype != torch.bool:
        raise TypeError(f"{key.function}: keep must be a bool tensor, True where an id stays; got {keep.dtype}.")
    kept = key.mask(ids.shape)
    return torch.where(kept if keep is None else kept | keep, ids, fill)


def checked(function: str, fill: object) -> int:
    """Returns the id that replaces dropped words, or raises a ValueError."""
    if type(fill) is not int:
        raise ValueError(f"{function}: fill must be an integer; got {fill!r}. It is the id of the unknown word, or of a mask.")
    return fill


def word_dropout(
    ids: Tensor,
    p: float | Tensor = 0.1,
    *,
    fill: int,
    keep: Tensor | None = None,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `WordDropout`.

    Args:
        ids: `(B, T)`, or any shape of integers.
        keep: bool, broadcasts to `ids`: True where an id stays, such as padding and sentence boundaries.
        training: whether to replace; `ids` itself is returned if not.
        generator: source of the seed; by default torch's generator of the device.

    >>> ids = torch.tensor([[1, 17, 23, 5, 2]])
    >>> word_dropout(ids, 1.0, fill=3, keep=ids < 3, training=True)
    tensor([[1, 3, 3, 3, 2]])
    """
    if not isinstance(ids, Tensor):
        return no_tensor(word_dropout, locals())
    fill = checked("word_dropout", fill)
    key = draw_key("word_dropout", ids, p, training, generator)
    return ids if key is None else _replace(key, ids, fill, keep)


class WordDropout(Site):
    """Replaces ids of words by the id of the unknown word or of a mask, before the embedding.

        y[b, t] = ids[b, t] if m[b, t] else fill,  m ~ Bernoulli(1 - p);  m = 1 where keep[b, t]

    Nothing is scaled: an id has no magnitude. The embedding of `fill` learns to represent unknown words.

    Noise shape: one decision per position of a sample.
    Use when: on ids before the embedding of a text classifier, or of a decoder that should rely on its latent code.
    Avoid when: the ids are also the targets: replace them only in the input; or sequences have special tokens and no `keep`.
    Start with: p from 0.1 to 0.3; more for the decoder of a variational autoencoder.
    Cost: one random decision per position of integers.
    Other implementations: no library. Collators of masked language models also choose targets.

    Args:
        p: probability that an id is replaced, rounded to 1/65536.
        fill: the id that replaces them: that of the unknown word, or of a mask.

    Shapes: `(B, T)`, or any of integers; the output has the shape of the input. `forward(ids, keep)` leaves ids where `keep` is
        True.

    Raises: ValueError if `p` is not in [0, 1], or `fill` is no integer; TypeError if ids are no integers, or `keep` is not
        bool.

    Source: Bowman, Vilnis, Vinyals, Dai, Jozefowicz, Bengio 2016, CoNLL, arXiv:1511.06349.

    >>> WordDropout(1.0, fill=3)(torch.tensor([[8, 17, 23]]))
    tensor([[3, 3, 3]])
    """

    def __init__(self, p: float = 0.1, *, fill: int) -> None:
        super().__init__(p)
        self.fill = checked("WordDropout", fill)

    def forward(self, input: Tensor, keep: Tensor | None = None) -> Tensor:
        return self.drop(input, keep) if isinstance(input, Tensor) else recorded(self, input, keep)

    def drop(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        key = self.key(x)
        return x if key is None else _replace(key, x, self.fill, keep)

    def extra_repr(self) -> str:
        return f"p={self.p}, fill={self.fill}"


METHODS = (Method(FACTS, WordDropout, word_dropout),)
