"""Attention under `torch.func.vmap`: the mapped axis joins the samples, so the fused kernel serves it too."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import TransformType, peek_interpreter_stack

from thinnet.ops.attention.settings import Settings

Run = Callable[[Tensor, Tensor, Tensor, Settings], tuple[Tensor, Tensor]]
JOINED = ("mask", "step", "samples")  # what may differ among the indices of the mapped axis


def is_mapping() -> bool:
    """Returns whether the innermost transform of `torch.func` is vmap."""
    top = peek_interpreter_stack()
    return top is not None and top.key() == TransformType.Vmap


class Mapped(torch.autograd.Function):
    """Runs `run(q, k, v, settings)`, which is the first argument."""

    @staticmethod
    def forward(run: Run, *arguments: Any) -> tuple[Tensor, Tensor]:
        return run(*arguments[:3], Settings(*arguments[3:]))  # pyright: ignore[reportCallIssue]

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        return None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], run: Run, *arguments: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Joins the mapped axis and the samples; runs one index after the other where more differs than `JOINED`."""
        n, settings, dims = info.batch_size, Settings(*arguments[3:]), Settings(*in_dims[4:])
        others = (dim for name, dim in dims._asdict().items() if name not in JOINED)
        if settings.query_starts is not None or any(dim is not None for dim in others):
            columns = [[x] * n if dim is None else x.unbind(dim) for x, dim in zip(arguments, in_dims[1:], strict=True)]
            rows = zip(*columns, strict=True)
            parts = [run(*row[:3], Settings(*row[3:])) for row in rows]  # pyright: ignore[reportCallIssue]
            return tuple(torch.stack(part) for part in zip(*parts, strict=True)), (0, 0)
        q, k, v = (_join(x, dim, n) for x, dim in zip(arguments[:3], in_dims[1:4], strict=True))
        y, lse = run(q, k, v, _join_settings(settings, dims, n, len(q) // n))
        return (y.unflatten(0, (n, -1)), lse.unflatten(0, (n, -1))), (0, 0)


def _join(x: Tensor, dim: int | None, n: int) -> Tensor:
    return (x.expand(n, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)


def _join_settings(settings: Settings, dims: Settings, n: int, batch: int) -> Settings:
    """Returns the settings of n times the samples."""

    def of_each(x: Tensor | None, dim: int | None = None) -> Tensor | None:
        rows = None if x is None else x.reshape(1, -1) if dim is None else x.movedim(dim, 0).reshape(n, -1)
        return rows if rows is None else rows.expand(n, batch).flatten()

    device = settings.rate.device
    samples = torch.zeros(1, dtype=torch.int64, device=device) if settings.samples is None else settings.samples
    if samples.numel() == 1 or (dims.samples is not None and samples.numel() == n):
        samples = samples.unsqueeze(-1) + torch.arange(batch, device=device)
    scale = settings.head_scale
    return settings._replace(
        mask=None if settings.mask is None else _join(settings.mask, dims.mask, n),  # pyright: ignore[reportArgumentType]
        step=of_each(settings.step, dims.step),  # pyright: ignore[reportArgumentType]
        samples=of_each(samples, dims.samples),  # pyright: ignore[reportArgumentType]
        head_scale=None if scale is None else scale.expand(batch, -1).repeat(n, 1),
        first_query=of_each(settings.first_query),
        first_key=of_each(settings.first_key),
    )
