"""Gather and scatter of submatrices: the C++ kernel equals the plain form, and each is the derivative of the other."""

import pytest
import torch
from torch import Tensor

from thinnet.ops import schema
from thinnet.ops import take as module
from thinnet.ops.take import take


def index(groups: int, count: int, some: int) -> Tensor:
    return torch.stack([torch.randperm(count)[:some] for _ in range(groups)])


def plain(x: Tensor, rows: Tensor | None, columns: Tensor | None, run: int) -> Tensor:
    groups = len(rows) if rows is not None else len(columns)  # type: ignore[arg-type]
    parts = []
    for group in range(groups):
        part = x if rows is None else x[rows[group]]
        if columns is not None:
            part = part[:, (columns[group][:, None] * run + torch.arange(run)).flatten()]
        parts.append(part)
    return torch.stack(parts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64], ids=str)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("shape", "run"), [((5, 7), 1), ((5, 7, 3, 3), 1), ((5, 12), 4)])
def test_take_and_its_gradient_equal_indexing(shape: tuple[int, ...], run: int, groups: int, dtype: torch.dtype) -> None:
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    r, c = index(groups, 5, 3), index(groups, shape[1] // run, 2)
    for rows, columns in ((r, c), (r, None), (None, c)):
        ours, theirs = take(x, rows, columns, run), plain(x, rows, columns, run)
        assert torch.equal(ours, theirs)
        weight = torch.randn_like(ours)
        (mine,), (wanted,) = torch.autograd.grad(ours, x, weight), torch.autograd.grad(theirs, x, weight)
        rounding = 8 * torch.finfo(dtype).eps  # groups are added up in another order
        torch.testing.assert_close(mine, wanted, rtol=rounding, atol=rounding)
        assert bool((mine[wanted == 0] == 0).all())


def test_a_bias_is_taken_by_rows() -> None:
    bias, rows = torch.randn(5, requires_grad=True), torch.tensor([[4, 0], [1, 0]])
    assert torch.equal(take(bias, rows, None), bias[rows])
    take(bias, rows, None).sum().backward()
    assert bias.grad is not None and bias.grad.tolist() == [2, 1, 0, 0, 1]


def test_double_backward() -> None:
    x, rows, columns = torch.randn(4, 6, dtype=torch.float64, requires_grad=True), index(2, 4, 3), index(2, 6, 2)
    torch.autograd.gradcheck(lambda x: take(x, rows, columns), x)
    torch.autograd.gradgradcheck(lambda x: take(x, rows, columns).square(), x)


@pytest.mark.skipif(schema.missing is not None, reason="the C++ kernels are not there")
def test_the_kernel_equals_the_plain_form() -> None:
    x, rows, columns = torch.randn(40, 30, 4), index(3, 40, 20), index(3, 30, 11)
    part = torch.ops.thinnet.take(x, rows, columns)
    assert torch.equal(part, module._take(x, rows, columns))
    put = torch.ops.thinnet.put(part, rows, columns, 40, 30)
    torch.testing.assert_close(put, module._put(part, rows, columns, 40, 30))
    for wrong in (rows + 30, rows - 30):
        with pytest.raises(RuntimeError, match="an index must be below 40"):
            torch.ops.thinnet.take(x, wrong, columns)
    with pytest.raises(RuntimeError, match="as many groups"):
        torch.ops.thinnet.take(x, rows[:2], columns)


def test_take_compiles_to_one_graph() -> None:
    x, rows, columns = torch.randn(5, 7, requires_grad=True), index(2, 5, 3), index(2, 7, 2)
    compiled = torch.compile(take, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, rows, columns), take(x, rows, columns))
    (ours,) = torch.autograd.grad(compiled(x, rows, columns).sum(), x)
    (theirs,) = torch.autograd.grad(take(x, rows, columns).sum(), x)
    torch.testing.assert_close(ours, theirs)
