"""Embedding dropout: words of the vocabulary are dropped, each of them wherever it stands in the batch.

    y[b, t, :] = W[ids[b, t], :] m[ids[b, t]] / (1 - p),  m ~ Bernoulli(1 - p), one coin a word

That is a lookup in the thinned table diag(m) W / (1 - p), but the table is never made: rows are looked up first and then
dropped, so that a step costs the tokens of the batch and one coin a word, and not |V| x D. The weight is never written to.
Gal and Ghahramani 2016, NeurIPS, arXiv:1512.05287; for a whole batch, Merity, Keskar, Socher 2018, arXiv:1708.02182.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thinnet.methods.call import draw_key
from thinnet.methods.facts import Facts, Method
from thinnet.methods.weights.wrapped import Wrapped
from thinnet.rng import NoiseKey


def definition(ids: Tensor, weight: Tensor, u: Tensor, p: float) -> Tensor:
    """Returns the rows of the thinned table: those of the words with u >= p over 1 - p, the others zero."""
    table = torch.where((u >= p)[:, None], weight / (1 - p) if p < 1 else weight, 0)
    return table[ids]


FACTS = Facts(
    name="Embedding dropout",
    summary="Drops words of the vocabulary, everywhere in the batch, and scales the vectors of the others by 1 / (1 - p).",
    equation="y[b, t, :] = W[ids[b, t], :] m[ids[b, t]] / (1 - p),  m ~ Bernoulli(1 - p), one coin a word",
    paper="Gal and Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182",
    grain="word of the vocabulary",
    place="in the place of the embedding of a language model or a tagger, with dropout that is fixed over time behind it",
    avoid="with subwords, where a piece is no word; a table that is the output layer too stays whole there",
    default="0.1",
    cost="one coin a word of the vocabulary, and a selection of the tokens' vectors; no copy of the table",
    elsewhere="AWD-LSTM and fastai build a masked copy of the whole table; fastai's scale in eval changes the weight itself",
    expected_drop=lambda p: p,
    definition=definition,
    per_batch=True,
)


def _drop(key: NoiseKey | None, ids: Tensor, rows: Tensor, words: int) -> Tensor:
    """Returns the rows of `ids` without those of dropped words."""
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
    """Looks up the rows of `weight`, without the words that are dropped from the whole batch.

    y[b, t, :] = W[ids[b, t], :] m[ids[b, t]] / (1 - p), with m ~ Bernoulli(1 - p) for each word.

    Args:
        ids: integers of any shape.
        weight: `(V, D)`, the table.
        p: fraction of words that are dropped, on average; honoured to 1/65536.
        padding_idx: as `torch.nn.functional.embedding` takes it, and so the four that follow.
        max_norm: rows that are used are shortened to it, in `weight` itself, as PyTorch does.
        norm_type: the norm that is meant.
        scale_grad_by_freq: divides gradients by how often a word is in the batch.
        sparse: makes the gradient of `weight` a sparse tensor.
        training: whether words are dropped. There is no default to forget.
        generator: where the seed of this call is drawn.

    Returns: `(*ids.shape, D)`.

    Raises: ValueError where `p` is not in [0, 1].

    Source: Gal and Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182.

    >>> ids = torch.tensor([[0, 1, 2, 0, 1, 2]])
    >>> y = embedding_dropout(ids, torch.ones(3, 4), 0.5, training=True)
    >>> torch.equal(y[:, :3], y[:, 3:])  # the same words are dropped, wherever they stand
    True
    """
    key = draw_key("embedding_dropout", weight, p, training, generator)
    rows = F.embedding(ids, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    return _drop(key, ids, rows, weight.shape[0])


class EmbeddingDropout(Wrapped):
    """Drops words of the vocabulary in training, everywhere in the batch; the bare embedding in eval.

    y[b, t, :] = W[ids[b, t], :] m[ids[b, t]] / (1 - p), with m ~ Bernoulli(1 - p) for each word.

    Args:
        layer: the embedding, which becomes the child `layer`. Its own settings hold, and the checkpoint has its keys.
        p: fraction of words that are dropped, on average; honoured to 1/65536.

    Shapes: integers of any shape to `(*, D)`.

    Raises: ValueError where `p` is not in [0, 1]; TypeError where `layer` is no `torch.nn.Embedding`.

    Source: Gal and Ghahramani 2016, arXiv:1512.05287; Merity et al. 2018, arXiv:1708.02182.

    >>> layer = EmbeddingDropout(nn.Embedding(1000, 16), 0.1)
    >>> layer(torch.tensor([[3, 7, 3]])).shape, list(layer.state_dict())
    (torch.Size([1, 3, 16]), ['weight'])
    """

    layers = (nn.Embedding,)
    layer: Callable[..., Tensor]

    def __init__(self, layer: nn.Embedding, p: float = 0.1) -> None:
        super().__init__(layer, p)

    def drop(self, x: Tensor) -> Tensor:
        """Tosses one coin for each word of the vocabulary."""
        return _drop(self.key(x, batch=None), x, self.layer(x), self.num_embeddings)

    def extra_repr(self) -> str:
        """Returns the rate."""
        return f"p={self.p}"


def _picture(picture: Tensor) -> Tensor:
    """Returns a picture whose columns are a text of sixteen repeating words."""
    ids = torch.arange(picture.shape[1]) % 16
    return picture * embedding_dropout(ids, torch.ones(16, 1), 0.3, training=True).T


METHODS = (Method(FACTS, EmbeddingDropout, embedding_dropout, _picture),)
