"""Random bits: Random123's known answers, and the bits of every unit of every address."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import thinnet
from thinnet.methods.elementwise import dropout
from thinnet.ops import NoiseKind, apply_noise, backends, reference

KNOWN = Path(__file__).parent / "data" / "philox4x32_7.txt"
PATHS = sorted({"reference", "baseline", backends()["cpu"]} | ({"avx2"} if backends()["cpu"] == "avx512" else set()))
M0, M1, W0, W1, MASK = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85, 0xFFFFFFFF

words = st.integers(0, MASK)


def philox(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-7 in Python's own integers: nothing shared with the package."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(7):
        high0, low0 = divmod(M0 * c0, 1 << 32)
        high1, low1 = divmod(M1 * c2, 1 << 32)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


def bits(seed: int, site: int, step: int, sample: int, unit: int) -> int:
    """The bits of a unit by docs/conventions.md: unit 128 s + 32 j + 2 l + h is half h of word j of block 16 s + l."""
    segment, within = divmod(unit, 128)
    j, rest = divmod(within, 32)
    lane, half = divmod(rest, 2)
    answer = philox((16 * segment + lane, sample, step, site), (seed & MASK, seed >> 32))
    return (answer[j] >> (16 * half)) & 0xFFFF


def known_answers() -> list[list[int]]:
    lines = KNOWN.read_text().splitlines()
    return [[int(word, 16) for word in line.split()] for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("answer", known_answers(), ids=lambda a: f"{a[0]:08x}")
def test_known_answers(answer: list[int]) -> None:
    counter, key, expected = answer[:4], answer[4:6], answer[6:]
    tensors = [torch.tensor(word) for word in (*counter, *key)]
    assert [int(word) for word in reference.philox(tuple(tensors[:4]), tuple(tensors[4:]))] == expected
    assert list(philox(tuple(counter), tuple(key))) == expected


def signed(seed: int) -> torch.Tensor:
    return torch.tensor(seed - (1 << 64) if seed >> 63 else seed)


def bits_of_a_kernel(path: str, seed: int, site: int, step: int, sample: int, first: int, count: int) -> list[int]:
    """The bits that a kernel reads, from sixteen masks: a unit is kept iff its bits are at least the threshold."""
    found = torch.zeros(count, dtype=torch.int64)
    x = torch.ones(first + count)
    for bit in reversed(range(16)):
        trial = found + (1 << bit)
        for threshold in trial.unique().tolist():
            where = dict(step=torch.tensor(step), site=torch.tensor(site), samples=torch.tensor([sample]))
            y = apply_noise(x[None], torch.tensor(threshold, dtype=torch.int32), signed(seed), backend=path, **where)
            kept = (y[0, first:] != 0) & (trial == threshold)
            found = torch.where(kept, trial, found)
    return found.tolist()


@pytest.mark.parametrize("path", PATHS)
def test_every_path_reads_the_documented_bits(path: str) -> None:
    seed, site, step, sample = 0xFEDCBA9876543210, 0x89ABCDEF, 77, 0xF0000001
    got = bits_of_a_kernel(path, seed, site, step, sample, first=250, count=20)
    assert got == [bits(seed, site, step, sample, unit) for unit in range(250, 270)]


@given(st.integers(0, (1 << 64) - 1), words, words, words, st.integers(0, 3000), st.integers(1, 300))
def test_the_reference_reads_the_documented_bits(seed: int, site: int, step: int, sample: int, first: int, count: int) -> None:
    where = signed(seed), torch.tensor(step), torch.tensor(site), torch.tensor([sample])
    got = reference.unit_bits(*where, count, first)[0].tolist()
    picked = (0, count // 2, count - 1)
    assert [got[i] for i in picked] == [bits(seed, site, step, sample, first + i) for i in picked]


@given(st.integers(0, (1 << 64) - 1), words, words, words, st.integers(0, 500))
def test_noise_takes_whole_words(seed: int, site: int, step: int, sample: int, unit: int) -> None:
    segment, within = divmod(unit, 64)
    j, lane = divmod(within, 16)
    answer = philox((16 * segment + lane, sample, step, site), (seed & MASK, seed >> 32))
    where = signed(seed), torch.tensor(step), torch.tensor(site), torch.tensor([sample])
    assert int(reference.noise(*where, unit + 1)[0, unit]) == answer[j]


def test_the_example_of_every_introduction() -> None:
    """Values 2, 4, 6, 8 at rate 0.5 with units 2 and 4 dropped give 4, 0, 12, 0."""
    x, half = torch.tensor([2.0, 4.0, 6.0, 8.0]), torch.tensor(32768, dtype=torch.int32)
    seeds = (torch.tensor(seed) for seed in range(1000))
    dropped = next(y for y in (apply_noise(x, half, seed) for seed in seeds) if (y != 0).tolist() == [True, False, True, False])
    assert dropped.tolist() == [4.0, 0.0, 12.0, 0.0]
    kept = torch.tensor([0.9, 0.1, 0.9, 0.1])
    assert dropout.definition(x, kept, 0.5).tolist() == [4.0, 0.0, 12.0, 0.0]


def test_a_dropped_unit_gets_no_gradient_in_nor_out() -> None:
    first, second, layer = torch.nn.Linear(5, 8), torch.nn.Linear(8, 3), thinnet.nn.Dropout(0.5)
    rng = thinnet.DropoutRNG(0).bind(layer).at(0)
    x = torch.rand(1, 5) + 1
    second(layer(first(x).exp())).sum().backward()
    dropped = ~rng.mask("", step=0, samples=[0], shape=(8,))[0]
    assert bool(dropped.any()) and bool((~dropped).any())
    for gradient in (first.weight.grad, first.bias.grad, second.weight.grad.T):
        assert bool((gradient[dropped] == 0).all()) and bool((gradient[~dropped] != 0).all())


def test_units_past_the_first_words_of_the_counter_differ() -> None:
    where = torch.tensor(1), torch.tensor(0), torch.tensor(0), torch.arange(200)
    drawn = reference.unit_bits(*where, 512)
    assert len(torch.unique(drawn, dim=0)) == 200
    assert len(torch.unique(drawn.reshape(-1, 8), dim=0)) == drawn.numel() // 8


def test_kinds_of_noise_have_the_numbers_of_the_kernels() -> None:
    header = (Path(thinnet.__file__).parent / "ops" / "csrc" / "plan.h").read_text()
    assert (
        "enum class NoiseKind : int64_t { " + ", ".join(f"{kind.name.lower()} = {kind.value}" for kind in NoiseKind) in header
    )


@pytest.mark.parametrize("first", [1, 63, 64, 65, 130, 1000])
def test_noise_from_any_unit_on_is_a_part_of_the_noise_of_a_sample(first: int) -> None:
    address = torch.tensor(7), torch.tensor(3), torch.tensor(5), torch.tensor([2, 9])
    whole, part = reference.noise(*address, 1300), reference.noise(*address, 200, first)
    assert torch.equal(part, whole[:, first : first + 200])
