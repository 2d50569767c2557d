"""The normal number of a word: close to scipy's inverse everywhere, symmetric, and N(0, 1) in distribution."""

import numpy as np
import torch
from assertions import FALSE_ALARM
from scipy import integrate, stats
from scipy.special import ndtri

from thinnet.ops import reference

ERROR = 5e-6


def words() -> torch.Tensor:
    ends = torch.arange(1 << 18)
    return torch.cat([ends, (1 << 32) - 1 - ends, torch.randint(0, 1 << 32, (1 << 20,))])


def numbers_of(tails: np.ndarray) -> np.ndarray:
    """The number of the word whose tail is nearest."""
    return reference.normal(torch.from_numpy((tails * 2.0**32 - 0.5).round().astype(np.int64)) * 2).double().numpy()


def test_it_is_the_inverse_of_the_distribution_function() -> None:
    drawn = words()
    z = reference.normal(drawn).double().numpy()
    tail = ((drawn >> 1).double().numpy() + 0.5) / 2**32
    exact = np.where((drawn & 1).numpy() == 1, ndtri(tail), -ndtri(tail))
    assert np.abs(z - exact).max() < ERROR


def test_the_last_bit_is_the_sign() -> None:
    even = words() & ~1
    assert torch.equal(reference.normal(even), -reference.normal(even + 1))
    assert 6.3 < float(reference.normal(torch.tensor([0]))) < 6.4


def test_its_distance_from_the_normal_distribution_is_that_of_its_error() -> None:
    """Kolmogorov's distance, and that of Anderson and Darling, over all words: a sample of 1e9 would not show them."""
    tails = (np.arange(1 << 20) + 0.5) / 2**21
    off = stats.norm.sf(numbers_of(tails)) - tails
    assert np.abs(off).max() < ERROR * stats.norm.pdf(0)
    assert 2 * np.mean(off**2 / (tails * (1 - tails))) < ERROR**2


def test_its_moments_are_those_of_a_normal_number() -> None:
    """Over all words, in steps of w = -log(2 v): the odd moments are zero, as signs are symmetric."""
    w = np.linspace(0, 32 * np.log(2), 1 << 18)
    tails = np.exp(-w) / 2
    for moment, expected in ((2, 1), (4, 3), (6, 15), (8, 105)):
        exact, found = (integrate.simpson(2 * z**moment * tails, x=w) for z in (-ndtri(tails), numbers_of(tails)))
        assert abs(exact / expected - 1) < 1e-4  # the tails end at 2^-33
        assert abs(found / exact - 1) < 2 * moment * ERROR


def test_its_tails_are_heavy_enough() -> None:
    """As many words are beyond a quantile as its probability says, down to 2^-30, within 1e-4."""
    for bits in range(2, 31):
        quantile = stats.norm.isf(2.0**-bits)
        below = 1 << 32 - bits  # so many tails of 2^32 are smaller
        around = torch.tensor([below - 2 - below // 10**4, below + 2 + below // 10**4]) * 2
        beyond = reference.normal(around).double().numpy()
        assert beyond[0] > quantile > beyond[1]


def test_random_words_are_normal_in_distribution() -> None:
    where = torch.tensor(1), torch.tensor(2), torch.tensor(3), torch.arange(64)
    z = reference.normal(reference.noise(*where, 1 << 14)).flatten().double().numpy()
    assert stats.kstest(z, "norm").pvalue > FALSE_ALARM
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < stats.norm.isf(FALSE_ALARM / 2) / np.sqrt(len(z))
