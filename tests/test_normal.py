"""The normal number of a word: close to scipy's inverse everywhere, symmetric, and N(0, 1) in distribution."""

import numpy as np
import torch
from assertions import FALSE_ALARM
from scipy import stats
from scipy.special import ndtri

from thinnet.ops import reference


def words() -> torch.Tensor:
    ends = torch.arange(1 << 18)
    return torch.cat([ends, (1 << 32) - 1 - ends, torch.randint(0, 1 << 32, (1 << 20,))])


def test_it_is_the_inverse_of_the_distribution_function() -> None:
    drawn = words()
    z = reference.normal(drawn).double().numpy()
    tail = ((drawn >> 1).double().numpy() + 0.5) / 2**32
    exact = np.where((drawn & 1).numpy() == 1, ndtri(tail), -ndtri(tail))
    assert np.abs(z - exact).max() < 3e-6


def test_the_last_bit_is_the_sign() -> None:
    even = words() & ~1
    assert torch.equal(reference.normal(even), -reference.normal(even + 1))
    assert 6.3 < float(reference.normal(torch.tensor([0]))) < 6.4


def test_random_words_are_normal_in_distribution() -> None:
    where = torch.tensor(1), torch.tensor(2), torch.tensor(3), torch.arange(64)
    z = reference.normal(reference.noise(*where, 1 << 14)).flatten().double().numpy()
    assert stats.kstest(z, "norm").pvalue > FALSE_ALARM
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < stats.norm.isf(FALSE_ALARM / 2) / np.sqrt(len(z))
