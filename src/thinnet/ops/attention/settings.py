"""The arguments of `thinnet::attention` behind q, k and v."""

from typing import NamedTuple

from torch import Tensor

RENORMALISED, COLUMNS, BACKEND = 1, 2, 4
ARGUMENTS = (
    "Tensor? mask, Tensor rate, Tensor seed, Tensor? step, Tensor? site, Tensor? samples, Tensor? heads, Tensor? head_scale, "
    "Tensor? first_query, Tensor? first_key, Tensor? query_starts, Tensor? key_starts, "
    "float scale, int left, int right, int options"
)


class Settings(NamedTuple):
    """Everything that determines the weights of an attention but q, k and v.

    Args:
        mask: `(B, H, T, S)`, of any strides: bool, True where a query may attend, or numbers added to the logits.
        rate: the rate in 65536ths, a 0-d int32 tensor on the device of q.
        seed: a 0-d int64 tensor, like `site`.
        step: the step, int64: one for all samples, or one for each. Like `site` it is 0 where it is None.
        samples: int64, one id for each sample, or a single one from which they count on; None counts from 0.
        heads: the number of each query head, `(H,)`, int64; None counts from 0.
        head_scale: `(B, H)`, float32: factor of the output of a head. A head of factor 0 is not computed.
        first_query: the position of the first query, int64: one for all samples, or one for each; None is 0.
        first_key: the same for the keys.
        query_starts: of packed sequences, `(N + 1,)`, int64: where each begins on axis 2, and where the last one ends. Then B
            is 1, and N counts the samples.
        key_starts: the same for the keys.
        scale: factor of the logits.
        left: a query attends to this many positions before its own at most; -1 for all.
        right: a query attends to this many positions behind its own at most; -1 for all, 0 for causal attention.
        options: RENORMALISED * (dropped weights leave the softmax) + COLUMNS * (all queries of a head lose the same keys)
            + BACKEND * (the number of a backend, for tests).
    """

    mask: Tensor | None
    rate: Tensor
    seed: Tensor
    step: Tensor | None
    site: Tensor | None
    samples: Tensor | None
    heads: Tensor | None
    head_scale: Tensor | None
    first_query: Tensor | None
    first_key: Tensor | None
    query_starts: Tensor | None
    key_starts: Tensor | None
    scale: float
    left: int
    right: int
    options: int
