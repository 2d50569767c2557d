"""Methods whose coin decides a word, a token or a patch."""

import torch
from torch import Tensor

from thinnet.methods.facts import Method
from thinnet.methods.pictures import TILE, tiles, untiled
from thinnet.methods.tokens import embedding_dropout, hidden_cut, patch_dropout, token_dropout, word_dropout


def _words(picture: Tensor) -> Tensor:
    """Returns a picture whose columns are a text of sixteen words that come again and again."""
    ids = torch.arange(picture.shape[1]) % 16
    return picture * embedding_dropout.embedding_dropout(ids, torch.ones(16, 1), 0.3, training=True).T


def _patches(picture: Tensor) -> Tensor:
    """Returns a picture without the patches that are left out."""
    patches = tiles(picture).flatten(2)
    kept, places = patch_dropout.patch_dropout(patches, 0.5, prefix=0, return_indices=True, training=True)
    whole = torch.zeros_like(patches).scatter(1, places[..., None].expand_as(kept), kept)
    return untiled(whole.unflatten(2, TILE), picture.shape[1])


METHODS: tuple[Method, ...] = (
    Method(embedding_dropout.FACTS, embedding_dropout.EmbeddingDropout, embedding_dropout.embedding_dropout, _words),
    Method(
        token_dropout.FACTS,
        token_dropout.TokenDropout,
        token_dropout.token_dropout,
        lambda x: token_dropout.token_dropout(x.T[None], 0.3, training=True)[0].T,
    ),
    Method(word_dropout.FACTS, word_dropout.WordDropout, word_dropout.word_dropout),
    Method(patch_dropout.FACTS, patch_dropout.PatchDropout, patch_dropout.patch_dropout, _patches),
    Method(
        hidden_cut.FACTS,
        hidden_cut.HiddenCut,
        hidden_cut.hidden_cut,
        lambda x: hidden_cut.hidden_cut(x.T[None], 0.3, training=True)[0].T,
    ),
)
