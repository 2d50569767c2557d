"""Monte-Carlo dropout: draws of a prediction with addressed masks."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thinnet.inference.arguments import check_counts, check_kind
from thinnet.inference.mode.switches import count_rows, switches
from thinnet.inference.monte_carlo.drawing import Drawing
from thinnet.inference.monte_carlo.error import bad_rows
from thinnet.inference.monte_carlo.outputs import Choice, kind_of
from thinnet.inference.monte_carlo.prediction import Prediction
from thinnet.models.edit.checks import check_model, check_scripted
from thinnet.rng.names import check_number, check_samples

TWO = "mean_and_log_variance"


def sample(
    model: nn.Module,
    x: Any,
    n: int = 50,
    seed: int = 0,
    samples: Tensor | Iterable[int] | int | None = None,
    batch_size: int | None = None,
    same_masks: bool = False,
    kind: str | None = None,
    output: Choice = None,
    progress: bool | None = None,
) -> Prediction:
    """Returns n Monte-Carlo draws of a prediction: dropout is on, everything else stays in eval.

    The address of a mask is the seed, the path of its site, step t and the id of the sample. So draw t of a sample is the same
    in any batch and order, and for any n: its mask is
    `thinnet.DropoutRNG(seed).mask(site, step=t, samples=[id], shape=...)`.
    Sites have the names that `thinnet.replace(model, functional=True, example=x)` gives them. Results agree up to rounding,
    because a matrix product of another size rounds differently.

    The model is unchanged: a copy that shares its parameters runs, without gradients, under `torch.func.vmap` over the draws.
    The part before the first site runs once, and the rest as one enlarged batch. If `vmap` fails, as with `nn.LSTM` or a
    forward method that branches on values, the draws run one by one with the same masks. Masks without an address, as in
    `nn.LSTM(dropout=)` or masks made by hand, come from generators seeded with the seed and t; then `addressed` is False and
    `notes` say where. The generators of PyTorch, Python and NumPy are unchanged afterwards.

    Args:
        model: any module with dropout in training. Sites pinned by `thinnet.freeze` stay as they are.
        x: the input: a tensor, a tuple of arguments, or a mapping of named ones. Axis 0 counts the samples.
        n: the number of draws.
        seed: 0 .. 2^64 - 1.
        samples: the ids of the samples, one each, or the first of them; by default the row numbers.
        batch_size: the most rows that run at once, each of one draw of one sample; by default as many as fit into 16 MB in the
            largest tensor behind the first site. If samples depend on one another, a batch is only cut between draws.
        same_masks: use one sub-network per draw for all samples, as BatchBALD and draws of functions need it: all have id 0.
        kind: "logits", "values", or "mean_and_log_variance" for a network that predicts the noise of its data: a pair of
            tensors, or the two halves of the last axis. By default "logits" if the last axis of the output has several
            numbers, else "values".
        output: selects a tensor if the model returns several: a key, an index, or a function of the output. By default the
            one called "logits", or the only one with floating-point numbers.
        progress: whether to show a progress bar; by default on a terminal.

    Returns: a `Prediction` with draws `(n, B, ...)`.

    Raises:
        ValueError: the model has no dropout that is on, the output is NaN in some rows, an argument is out of range, or
            `output` has to select a tensor.
        TypeError: `model` is not a module, cannot be copied, or has dropout in a ScriptModule; or its output is not a
            floating-point tensor.

    Source: Gal and Ghahramani 2016, arXiv:1506.02142; Kirsch et al. 2019, arXiv:1906.08158 (BatchBALD).

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    >>> x = torch.randn(5, 4)
    >>> batch, last = sample(model, x, n=20), sample(model, x[4:], n=20, samples=[4])
    >>> batch.draws.shape, torch.allclose(batch.draws[:, 4:], last.draws, atol=1e-6)
    (torch.Size([20, 5, 3]), True)
    """
    model = check_model("sample", model)
    check_scripted("sample", model)
    rows = _check(x, n, seed, batch_size, kind)
    ids = _ids(samples, rows, same_masks)
    found = switches("sample", model, x)
    if not found.sites:
        rule = "sample: model must have dropout with a rate above 0 that is not frozen"
        raise ValueError(f"{rule}; otherwise all {n} draws are equal. Insert dropout: thinnet.insert(model).")
    drawing = Drawing(model, x, found, seed, output, kind == TWO)
    tensors, notes = drawing.run(n, ids, batch_size, progress)
    if bad := bad_rows(*tensors):
        what = kind or "logits or values"
        raise ValueError(f"sample: {what} must be numbers; got NaN in {bad} of {rows} rows. Check those inputs.")
    aleatoric = tensors[1].exp() if kind == TWO else None
    return Prediction(tensors[0], "values" if kind == TWO else kind_of(tensors[0], kind), drawing.addressed, notes, aleatoric)


def _check(x: Any, n: int, seed: int, batch_size: int | None, kind: str | None) -> int:
    check_counts("sample", n=n, batch_size=1 if batch_size is None else batch_size)
    check_kind("sample", kind, TWO)
    check_number("sample", "n", n)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 64:
        raise ValueError(f"sample: seed must be an integer in 0 .. 2^64 - 1; got {seed!r}. Use seed=0.")
    rows = count_rows(dict(x) if isinstance(x, Mapping) else x)
    if not rows:
        raise ValueError("sample: x must hold a tensor with a sample or more on axis 0; got none. Pass the model's input.")
    return rows


def _ids(samples: Tensor | Iterable[int] | int | None, rows: int, same_masks: bool) -> Tensor:
    if same_masks:
        if samples is not None:
            rule = "sample: samples must be left out with same_masks=True, as all samples have the masks of id 0"
            raise ValueError(f"{rule}; got {samples!r}.")
        return torch.zeros(rows, dtype=torch.int64)
    ids = check_samples("sample", 0 if samples is None else samples)
    ids = ids.cpu() if isinstance(ids, Tensor) else torch.arange(ids, ids + rows)
    if len(ids) != rows:
        raise ValueError(f"sample: samples must be one id for each of {rows} rows; got {len(ids)}. Or give the first one.")
    return ids
