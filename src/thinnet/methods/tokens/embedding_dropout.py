"""Embedding dropout: drops words of the vocabulary."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.call import draw_key, no_tensor
from thinnet.methods.facts import Facts, Method, Use
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey


def definition(ids: Tensor, weight: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the rows of the masked table: words with u >= p over 1 - p, the others zero."""
    table = torch.where((u >= p)[:, None], weight / (1 - p) if p < 1 else weight, 0)
    return table[ids]


FACTS = Facts(
    expected_drop=lambda p: p,
    definition=definition,
    per_batch=True,
    used_by=(Use("fastai, AWD-LSTM", "EmbeddingDropout(embed_p)"),),
)


def _drop(key: NoiseKey | None, ids: Tensor, rows: Tensor, words: int) -> Tensor:
    """Returns the rows of `ids`, with zeros for dropped words."""
    if key is None:
        return rows
    kept = key.mask((words,))[ids][..., None]
    return torch.where(kept, (rows * key.scale.reshape(1)).to(rows.dtype), 0)  # one axis: the scale stays in float32


def embedding_dropout(
    ids: Tensor,
    weight: Tensor,
    p: float | Tensor = 0.1,
    *,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    training: bool,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Functional form of `EmbeddingDropout`.

    Args:
        ids: integers of any shape.
        weight: `(V, D)`, the table.
        padding_idx, norm_type, scale_grad_by_freq, sparse: as in `torch.nn.functional.embedding`.
        max_norm: maximum norm of the rows that are used; `weight` itself is renormalised, as in PyTorch.
        training: whether to drop.
        generator: source of the seed; by default torch's generator of the device.

    Returns: `(*ids.shape, D)`.

    >>> ids = torch.tensor([[0, 1, 2, 0, 1, 2]])
    >>> y = embedding_dropout(ids, torch.ones(3, 4), 0.5, training=True)
    >>> torch.equal(y[:, :3], y[:, 3:])  # a word is dropped everywhere
    True
    """
    if not isinstance(ids, Tensor):
        return no_tensor(embedding_dropout, locals())
    key = draw_key("embedding_dropout", weight, p, training, generator)
    rows = F.embedding(ids, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    return _drop(key, ids, rows, weight.shape[0])


class EmbeddingDropout(Wrapped):
    """Drops words of the vocabulary, everywhere in the batch, and scales the vectors of the others by 1 / (1 - p).

        y[b, t, :] = W[ids[b, t], :] m[ids[b, t]] / (1 - p),  m ~ Bernoulli(1 - p)

    The result is a lookup in the masked table diag(m) W / (1 - p), which is never computed: rows are looked up first and then
    dropped. So a step costs the tokens of the batch and V decisions, not V x D. The weight is never written. In eval it is the
    wrapped embedding.

    Noise shape: one decision per word of the vocabulary.
    Use when: in place of the embedding of a language model or a tagger, followed by dropout that is fixed over time.
    Avoid when: tokens are subwords, where a piece is no word. If the table is also the output layer, that layer is not dropped.
    Start with: p = 0.1.
    Cost: one random decision per word of the vocabulary, and a selection of the tokens' vectors; no copy of the table.
    Other implementations: AWD-LSTM and fastai copy and mask the whole table; fastai's `scale` changes the weight in eval.

    Args:
        layer: the embedding, which becomes the child `layer`. Its own settings apply, and the checkpoint has its keys.
        p: probability that a word is dropped, rounded to 1/65536.

    Shapes: integers of any shape to `(*, D)`.

    Raises: ValueError if `p` is not in [0, 1]; TypeError if `layer` is no `torch.nn.Embedding`.

    Source: Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287; for a whole batch, Merity, Keskar, Socher 2018,
        arXiv:1708.02182.

    >>> layer = EmbeddingDropout(nn.Embedding(1000, 16), 0.1)
    >>> layer(torch.tensor([[3, 7, 3]])).shape, list(layer.state_dict())
    (torch.Size([1, 3, 16]), ['weight'])
    """

    layers = (nn.Embedding,)
    layer: Callable[..., Tensor]

    def __init__(self, layer: nn.Embedding, p: float = 0.1) -> None:
        super().__init__(layer, p)

    def bare_in_eval(self) -> bool:
        return True

    def drop(self, x: Tensor) -> Tensor:
        return _drop(self.key(x, batch=None), x, self.layer(x), self.num_embeddings)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _picture(picture: Tensor) -> Tensor:
    """Returns a picture whose columns are a text of sixteen repeating words."""
    ids = torch.arange(picture.shape[1]) % 16
    return picture * embedding_dropout(ids, torch.ones(16, 1), 0.3, training=True).T


METHODS = (Method(FACTS, EmbeddingDropout, embedding_dropout, _picture),)
