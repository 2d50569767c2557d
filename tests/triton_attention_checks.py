"""What test_triton.py runs with TRITON_INTERPRET=1: attention on the Triton path against the reference."""

from typing import Any

import pytest
import torch
from torch import Tensor
from triton.runtime.errors import OutOfResources

from thinnet.ops.attention import Settings, reference
from thinnet.ops.attention.settings import COLUMNS, RENORMALISED
from thinnet.ops.triton import attention as door

EMPTY = Settings(None, torch.tensor(20000, dtype=torch.int32), torch.tensor(-77), *[None] * 9, 0.3, -1, -1, 0)
STARTS = {"query_starts": torch.tensor([0, 10, 10, 37]), "key_starts": torch.tensor([0, 5, 15, 45])}
CASES: dict[str, tuple[int, dict]] = {
    "plain": (2, {}),
    "address": (2, {"step": torch.tensor(5), "site": torch.tensor(2**32 - 5), "samples": torch.tensor([9, 3]), "right": 0}),
    "a step for each sample": (2, {"step": torch.tensor([5, 8]), "samples": torch.tensor([3, 3])}),
    "tile": (2, {"first_query": torch.tensor([3, -20]), "first_key": torch.tensor(70), "left": 30, "right": 10}),
    "heads": (2, {"heads": torch.tensor([7, 3, 9, 1]), "head_scale": torch.tensor([[1.0, 0, 2, 0.5], [0, 0, 1, 1]])}),
    "bool": (2, {"mask": torch.rand(2, 1, 37, 45).gt(0.4).expand(2, 4, 37, 45)}),
    "bias": (2, {"mask": torch.randn(1, 4, 37, 45).expand(2, 4, 37, 45), "samples": torch.tensor([4])}),
    "renormalised": (2, {"rate": torch.tensor(60000, dtype=torch.int32), "options": RENORMALISED, "right": 0}),
    "columns": (2, {"options": RENORMALISED + COLUMNS}),
    "packed": (1, {**STARTS, "samples": torch.tensor([4, 8, 1]), "right": 0}),
    "packed, renormalised": (
        1,
        {**STARTS, "options": RENORMALISED, "rate": torch.tensor(60000, dtype=torch.int32), "right": 0},
    ),
    "no dropout": (2, {"rate": torch.tensor(0, dtype=torch.int32)}),
    "all dropped": (1, {"rate": torch.tensor(65536, dtype=torch.int32)}),
}


@pytest.mark.parametrize("name", CASES)
def test_forward_and_backward_equal_the_reference(name: str) -> None:
    torch.manual_seed(0)
    batch, options = CASES[name]
    settings = EMPTY._replace(**options)
    q, k, v = torch.randn(batch, 4, 37, 20), torch.randn(batch, 2, 45, 20), torch.randn(batch, 45, 2, 8).transpose(1, 2)
    y, lse = door.attention(q, k, v, *settings)
    expected = reference.forward(q, k, v, *settings)
    dy = torch.randn(y.shape)
    of_logits = settings.mask is not None
    ours = door.attention_backward(dy, *expected, q, k, v, *settings, of_logits)
    theirs = reference.backward(dy, *expected, q, k, v, *settings, of_logits)
    pairs: list[tuple[Tensor, Tensor]] = [(y, expected[0]), (lse, expected[1]), *zip(ours, theirs, strict=True)]
    for mine, right in pairs:
        torch.testing.assert_close(mine, right, rtol=1e-4, atol=1e-5)


class Greedy:
    """Stands for a kernel whose larger programs need more memory than a multiprocessor has."""

    def __init__(self, kernel: Any, most: int) -> None:
        self.kernel, self.most, self.tried = kernel, most, []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(*arguments: Any, **options: Any) -> None:
            self.tried.append((options["QUERIES"], options["num_stages"]))
            if options["QUERIES"] * options["num_stages"] > self.most:
                raise OutOfResources(1, 0, "shared memory")
            self.kernel[grid](*arguments, **options)

        return launch


def test_the_first_program_that_fits_serves_and_is_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = {name: Greedy(kernel, 40) for name, kernel in door.KERNELS.items()}
    monkeypatch.setattr(door, "KERNELS", kernels)
    monkeypatch.setattr(door, "_fits", {})
    q = torch.randn(1, 1, 37, 16)
    expected = reference.forward(q, q, q, *EMPTY)
    for _ in range(2):
        torch.testing.assert_close(door.attention(q, q, q, *EMPTY)[0], expected[0], rtol=1e-4, atol=1e-5)
    assert kernels["forward_kernel"].tried == [(64, 3), (64, 2), (64, 1), (32, 1), (32, 1)]
    kernels["queries_kernel"].most = 0
    with pytest.raises(OutOfResources):
        door.attention_backward(q, *expected, q, q, q, *EMPTY, False)


@pytest.mark.parametrize("first", [0, 70])
def test_a_kept_weight_has_the_bits_of_the_reference(first: int) -> None:
    settings = EMPTY._replace(first_key=torch.tensor(first), heads=torch.tensor([3]))
    q, k, v = torch.zeros(1, 1, 5, 16), torch.zeros(1, 1, 200, 16), torch.eye(200)[None, None]
    y, _ = door.attention(q, k, v, *settings)
    assert torch.equal(y != 0, reference.kept_weights(settings, 1, 1, 5, 200, q.device))


def test_more_samples_than_an_axis_of_a_grid_has(monkeypatch: pytest.MonkeyPatch) -> None:
    grids, kernels = [], dict(door.KERNELS)

    class Kernel:
        """Stands for a kernel, and keeps how many programs run."""

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            grids.append(grid)
            return lambda *arguments, **options: None

    monkeypatch.setattr(door, "KERNELS", {name: Kernel() for name in kernels})
    q = torch.empty(1, 1, 1, 16).expand(70000, 2, 70, 16)
    door.Launch(q, q, q, EMPTY).run("forward_kernel", (), [])
    door.Launch(q, q, q, EMPTY).run("keys_kernel", (), [])
    assert grids == [(2 * 2 * 70000, 1, 1), (8 * 2 * 70000, 1, 1)]  # the second and third axis end at 65535


def test_places_in_a_mask_are_64_bit_numbers() -> None:
    """The mask of a sample begins 2^30 numbers behind that of the last; what is between is no memory until it is written."""
    mask = torch.empty((1 << 31) + 100, dtype=torch.bool).as_strided((3, 1, 5, 20), (1 << 30, 0, 20, 1))
    mask.copy_(torch.rand(mask.shape) > 0.4)
    q, k = torch.randn(3, 1, 5, 16), torch.randn(3, 1, 20, 16)
    settings = EMPTY._replace(mask=mask)
    expected = reference.forward(q, k, k, *settings)
    torch.testing.assert_close(door.attention(q, k, k, *settings)[0], expected[0], rtol=1e-4, atol=1e-5)
