"""Checks that each path of this machine computes the bits of the reference, and the reference those of Random123."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import torch
from torch import Tensor

from thinnet.ops import NoiseKind, apply_noise, backends, reference
from thinnet.ops.attention.call import attention

VARIANTS = ("avx512", "avx2", "baseline")  # each processor that has one has those behind it
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
Layout: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]  # shape, shared axes
LAYOUTS: tuple[Layout, ...] = (((3, 1031), ()), ((3, 16, 65), (2,)))
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)
ANSWER = (0x4DFCCABA, 0x190A87F0, 0xC47362BA, 0xB6B5242A)


@dataclass(frozen=True)
class Agreement:
    """What a path computed.

    Args:
        device, path: where, and by which kernels.
        cases: how many results were compared.
        wrong: the first case that differs from the reference, or the error; None where all agree.
    """

    device: str
    path: str
    cases: int
    wrong: str | None


def agreements() -> list[Agreement]:
    """Returns one result for each path that can run here."""
    paths = backends()
    best = paths["cpu"]
    faster = VARIANTS[VARIANTS.index(best) :] if best in VARIANTS else (best,) * (best != "reference")
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "xpu": torch.xpu.is_available()}
    found = [_agreement("cpu", "reference", "auto", _philox)]
    found += [_agreement("cpu", path, path, _cases) for path in faster]
    return found + [_agreement(name, paths[name], "auto", _cases) for name, there in available.items() if there]


def _agreement(device: str, path: str, backend: str, cases: Callable[[str, str], Iterator[tuple[str, bool]]]) -> Agreement:
    number = 0
    try:
        for number, (case, agrees) in enumerate(cases(device, backend), 1):
            if not agrees:
                return Agreement(device, path, number, f"{case} differs from the reference")
    except Exception as error:  # a path that cannot run is a finding, not the end of the report
        return Agreement(device, path, number, f"{type(error).__name__}: {error}".splitlines()[0])
    return Agreement(device, path, number, None)


def _philox(device: str, backend: str) -> Iterator[tuple[str, bool]]:
    """Yields whether the reference gives the known answer of Random123 for the digits of pi."""
    words = [torch.tensor(word) for word in PI]
    got = reference.philox((words[0], words[1], words[2], words[3]), (words[4], words[5]))
    yield "Philox4x32-7", tuple(map(int, got)) == ANSWER


def _cases(device: str, backend: str) -> Iterator[tuple[str, bool]]:
    """Yields the name of a case, and whether its result has the bits of the reference."""
    for kind, dtype, layout, addressed in product(NoiseKind, DTYPES, LAYOUTS, (False, True)):
        if device == "mps" and dtype == torch.float64:  # MPS has no float64
            continue
        results = [_noised(place, kind, dtype, layout, addressed) for place in _both(device, backend)]
        same = all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))
        yield f"{kind.name.lower()} noise of {dtype} {layout[0]}", same
    kept = [_kept(place, way) for place, way in _both(device, backend)]
    yield "the mask of attention weights", torch.equal(*kept)


def _both(device: str, backend: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (device, backend), ("cpu", "reference")


def _noised(
    place: tuple[str, str], kind: NoiseKind, dtype: torch.dtype, layout: Layout, addressed: bool
) -> tuple[Tensor, Tensor]:
    """Returns the bits of an output and of its gradient."""
    (device, backend), (shape, shared_axes) = place, layout
    x = torch.linspace(-3, 3, torch.Size(shape).numel()).reshape(shape).to(dtype).to(device).requires_grad_()
    rate, seed, step, site, samples = _address(device)
    if not addressed:
        step = site = samples = None
    drawn = {"kind": kind, "backend": backend, "shared_axes": shared_axes}
    y = apply_noise(x, rate, seed, step=step, site=site, samples=samples, **drawn)
    (gradient,) = torch.autograd.grad(y, x, x.detach())
    return _bytes(y), _bytes(gradient)


def _bytes(x: Tensor) -> Tensor:
    return x.detach().cpu().contiguous().view(torch.uint8)


def _address(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Returns the rate, the seed, the step, the site and the samples."""
    seed, step, site = (torch.tensor(number, device=device) for number in (-77, 9, 2**32 - 5))
    rate = torch.tensor(19661, dtype=torch.int32, device=device)
    return rate, seed, step, site, torch.tensor([4711, 8, 0], device=device)


def _kept(device: str, backend: str) -> Tensor:
    """Returns which attention weights are kept: the values are unit vectors, so the output is the weights."""
    rate, seed, step, site, samples = _address(device)
    q = torch.linspace(-1, 1, 3 * 2 * 24 * 16).reshape(3, 2, 24, 16).to(device)
    v = torch.eye(24, device=device).expand(3, 2, 24, 24).contiguous()
    weights, _ = attention(q, q, v, rate, seed, step=step, site=site, samples=samples, backend=backend)
    return (weights != 0).cpu()
