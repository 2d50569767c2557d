"""Selects the predicted tensor from the output of a model."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Choice = str | int | Callable[[Any], Any] | None


def chosen(out: Any, output: Choice, two: bool = False) -> tuple[Tensor, ...]:
    """Returns the predicted tensor, or the mean and the log of the variance if the model predicts both.

    Args:
        out: the output of the model: a tensor, a tuple, or a mapping, such as a ModelOutput of Hugging Face.
        output: a key, an index, or a function of `out`. By default the tensor itself, the entry "logits", or the only
            floating-point tensor.
        two: whether mean and log-variance are wanted: a pair of tensors, or the halves of the last axis of one.

    Raises:
        TypeError: the output holds no floating-point numbers.
        ValueError: `output` has to select a tensor, or selects one that does not exist.
    """
    if output is not None:
        out = _taken(out, output)
    if two:
        return _pair(out)
    tensor = out if isinstance(out, Tensor) else _only(out)
    if not tensor.is_floating_point():
        raise TypeError(f"sample: the output must be floating-point logits or values; got {tensor.dtype}. Return the scores.")
    if tensor.ndim == 0:
        raise ValueError("sample: the output must have one row a sample; got a single number. Choose with output=.")
    return (tensor,)


def _taken(out: Any, output: Choice) -> Any:
    if callable(output):
        return output(out)
    try:
        return out[output]
    except (KeyError, IndexError, TypeError) as error:
        there = ", ".join(map(str, parts(out))) or type(out).__name__
        raise ValueError(f"sample: output must be a part of what the model returns: {there}; got {output!r}.") from error


def parts(out: Any) -> dict[Any, Any]:
    """Returns the parts of a mapping or a sequence, by key or index."""
    return dict(out) if isinstance(out, Mapping) else dict(enumerate(out)) if isinstance(out, (tuple, list)) else {}


def _only(out: Any) -> Tensor:
    there = parts(out)
    if isinstance(there.get("logits"), Tensor):
        return there["logits"]
    tensors = {key: part for key, part in there.items() if isinstance(part, Tensor) and part.is_floating_point()}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    if tensors:
        raise ValueError(f"sample: output must select one of the tensors {', '.join(map(repr, tensors))}; got None.")
    held = ", ".join(sorted({type(part).__name__ for part in there.values()}))
    got = f"{type(out).__name__} of {held}" if there else repr(out)
    raise TypeError(f"sample: the model must return logits or values; got {got}. Choose a tensor with output=.")


def _pair(out: Any) -> tuple[Tensor, Tensor]:
    found = list(parts(out).values())[:2] if not isinstance(out, Tensor) else list(out.chunk(2, -1))
    if len(found) == 2 and all(isinstance(part, Tensor) and part.is_floating_point() for part in found):
        mean, log_variance = found
        if mean.shape == log_variance.shape and mean.ndim:
            return mean, log_variance
    got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
    rule = "sample: kind='mean_and_log_variance' needs a pair of equal tensors, or an even last axis"
    raise ValueError(f"{rule}; got {got}. Choose them with output=.")


def kind_of(draws: Tensor, kind: str | None) -> str:
    """Returns `kind` if it is given; else "logits" if the last axis of the draws has several numbers, and "values" if not."""
    if kind is not None:
        return kind
    return "logits" if draws.ndim > 2 and draws.shape[-1] > 1 else "values"
