"""A linear layer on a part of its units equals the definition, however its weights are split into blocks."""

from itertools import product

import pytest
import torch
from torch import Tensor

from thinnet.models.thin import linear as layer


def part_of(size: int, kept: int | None) -> Tensor | None:
    return None if kept is None else torch.randperm(size)[:kept].sort().values[None]


@pytest.mark.parametrize("limit", [layer.LARGE, 0])
@pytest.mark.parametrize(("rows", "columns"), [(70, 23), (None, 23), (70, None), (100, 1), (1, 40)])
def test_it_equals_the_definition(rows: int | None, columns: int | None, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(layer, "LARGE", limit)
    monkeypatch.setattr(layer, "BLOCK", 16 * 8 * (columns or 40))  # 16 rows of float64
    for biased, strided, scale in product((True, False), (True, False), (1.0, 2.5)):
        weight = torch.randn(100, 40, dtype=torch.float64, requires_grad=True)
        bias = torch.randn(100, dtype=torch.float64, requires_grad=True) if biased else None
        out, inside = part_of(100, rows), part_of(40, columns)
        x = torch.randn(3, 5, 40 if columns is None else columns, dtype=torch.float64)
        x = (x.transpose(0, 1) if strided else x).requires_grad_()
        y = layer.linear(x, weight, bias, out, inside, scale)
        taken = weight if out is None else weight[out[0]]
        expected = scale * x @ (taken if inside is None else taken[:, inside[0]]).T
        if bias is not None:
            expected = expected + (bias if out is None else bias[out[0]])
        torch.testing.assert_close(y, expected)
        wanted, gradient = [each for each in (x, weight, bias) if each is not None], torch.randn_like(y)
        found = torch.autograd.grad(y, wanted, gradient)
        for ours, theirs in zip(found, torch.autograd.grad(expected, wanted, gradient), strict=True):
            torch.testing.assert_close(ours, theirs)
            assert torch.equal(ours == 0, theirs == 0)


def test_only_a_large_part_on_a_cpu_has_blocks() -> None:
    rows, large = torch.arange(4096)[None], torch.empty(4096, 4096)
    for weight, size in ((large, 256), (large[:, :512], None), (large.to("meta"), None)):
        assert layer._placed(weight, rows, None) == (rows, size)
    assert layer._placed(large, None, rows[:, :2048])[1] == 512
