"""Monte-Carlo dropout: draws of a prediction, each from another thinned network, and every coin of them named."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.mode.switches import count_rows, switches
from thinnet.inference.monte_carlo.drawing import Drawing
from thinnet.inference.monte_carlo.outputs import Choice, check_numbers, kind_of
from thinnet.inference.monte_carlo.prediction import KINDS, Prediction
from thinnet.models.edit.checks import checked
from thinnet.rng.names import check_number, check_samples

TWO = "mean_and_log_variance"


def sample(
    model: nn.Module,
    x: Any,
    n: int = 50,
    seed: int = 0,
    samples: Tensor | Iterable[int] | int | None = None,
    batch_size: int | None = None,
    same_coins: bool = False,
    kind: str | None = None,
    output: Choice = None,
    progress: bool | None = None,
) -> Prediction:
    """Returns n draws of a prediction, each with the coins of a model turned on anew and nothing else: norms stay in eval.

    A coin of draw t of a sample is named by the seed, the path of its site, step t and the sample's id, so the draw is the same
    in whatever batch, order and number of draws: its mask is
    `thinnet.DropoutRNG(seed).mask(site, step=t, samples=[id], shape=...)`.
    Sites have the names that `thinnet.replace(model, functional=True, example=x)` gives them. Results agree to rounding, as a
    matrix product of another size rounds otherwise.

    The model itself is not touched: a copy of its structure that holds the same parameters runs, without gradients, under
    `torch.func.vmap` over the draws. What is before the first site is computed once, and what is behind runs as one enlarged
    batch. Where that does not work, as with `nn.LSTM` or a forward method that looks at numbers, the draws run one by one, with
    the same coins. Coins that have no name, as in `nn.LSTM(dropout=)` or masks made by hand, come from generators that are
    seeded with the seed and t; the result is then not `named` and its notes say where. The generators of PyTorch, Python and
    NumPy are afterwards as they were.

    Args:
        model: any module that drops at random in training. Sites pinned by `thinnet.freeze` stay as they are.
        x: what it is called with: a tensor, a tuple of arguments, or a mapping of named ones. Axis 0 counts the samples.
        n: how many draws.
        seed: 0 .. 2^64 - 1.
        samples: the ids of the samples, one each, or the first of them; the row numbers if left out.
        batch_size: how many rows, each of one draw of one sample, run at once; as many as fit into 16 MB in the largest
            tensor behind the first coin if left out. Where samples depend on one another a batch is only cut between draws.
        same_coins: one thinned network a draw for all samples, as BatchBALD and draws of functions need it: all have id 0.
        kind: "logits", "values", or "mean_and_log_variance" for a network that says the noise of its data: a pair of tensors,
            or the two halves of the last axis. If left out, logits where the last axis of the output has several numbers.
        output: of a model that returns several tensors, which one: a key, a place, or a function of what is returned. If left
            out, the one called "logits", or the only one with floating-point numbers.
        progress: whether a line says how far a long run is; on a terminal if left out.

    Returns: a `Prediction` with draws `(n, B, ...)`.

    Raises:
        ValueError: the model has no coin that may drop, the output is NaN in some rows, an argument is out of its range, or
            `output` has to say which tensor is meant.
        TypeError: `model` is no module or cannot be copied; its output is no floating-point numbers.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142; Kirsch et al. 2019, arXiv:1906.08158 (BatchBALD).

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    >>> x = torch.randn(5, 4)
    >>> all_of_it, last = sample(model, x, n=20), sample(model, x[4:], n=20, samples=[4])
    >>> all_of_it.draws.shape, torch.allclose(all_of_it.draws[:, 4:], last.draws, atol=1e-6)
    (torch.Size([20, 5, 3]), True)
    """
    model = checked("sample", model)
    rows = _check(x, n, seed, batch_size, kind)
    ids = _ids(samples, rows, same_coins)
    found = switches("sample", model, x)
    if not found.rng:
        rule = "sample: model must have a coin that may drop, in a site that is not pinned off"
        raise ValueError(f"{rule}; {n} draws would be {n} times the same. Insert dropout: thinnet.insert(model).")
    drawing = Drawing(model, x, found, seed, output, kind == TWO)
    tensors, notes = drawing.run(n, ids, batch_size, progress)
    check_numbers(tensors, kind)
    aleatoric = tensors[1].exp() if kind == TWO else None
    told = "values" if kind == TWO else kind_of(tensors[0], kind)
    return Prediction(tensors[0], told, drawing.named, notes, aleatoric)


def _check(x: Any, n: int, seed: int, batch_size: int | None, kind: str | None) -> int:
    for name, value in (("n", n), ("batch_size", batch_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"sample: {name} must be a positive integer; got {value!r}. Use {name}=50.")
    check_number("sample", "n", n)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ValueError(f"sample: seed must be an integer in 0 .. 2^64 - 1; got {seed!r}. Use seed=0.")
    if kind not in (None, *KINDS, TWO):
        raise ValueError(f"sample: kind must be one of {', '.join((*KINDS, TWO))}; got {kind!r}.")
    rows = count_rows(dict(x) if isinstance(x, Mapping) else x)
    if not rows:
        raise ValueError("sample: x must hold a tensor with a sample or more on axis 0; got none. Give what the model takes.")
    return rows


def _ids(samples: Tensor | Iterable[int] | int | None, rows: int, same_coins: bool) -> Tensor:
    """Returns one id a row."""
    if same_coins:
        if samples is not None:
            rule = "sample: samples must be left out with same_coins=True, as all samples have the coins of id 0"
            raise ValueError(f"{rule}; got {samples!r}.")
        return torch.zeros(rows, dtype=torch.int64)
    ids = check_samples("sample", 0 if samples is None else samples)
    ids = ids.cpu() if isinstance(ids, Tensor) else torch.arange(ids, ids + rows)
    if len(ids) != rows:
        raise ValueError(f"sample: samples must be one id for each of {rows} rows; got {len(ids)}. Or give the first one.")
    return ids
