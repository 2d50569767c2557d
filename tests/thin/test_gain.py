"""`thin` leaves a chain alone if a step would take longer, by an estimate that depends on shapes, rates and threads alone."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

import thinnet


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(width: int, p: float = 0.5, dtype: torch.dtype = torch.float32) -> nn.Module:
    first, second = [nn.Linear(784, width), nn.ReLU(), nn.Dropout(p)], [nn.Linear(width, width), nn.ReLU(), nn.Dropout(p)]
    return nn.Sequential(*first, *second, nn.Linear(width, 10)).to(dtype)


@pytest.mark.parametrize(
    ("width", "p", "batch", "pays"),
    [  # measured on one thread: 1.50, 0.62, 0.71, 1.26, 0.54 and 1.36 times the time of no dropout
        (256, 0.5, 16, False),
        (256, 0.5, 512, True),
        (512, 0.5, 128, True),
        (512, 0.1, 64, False),
        (1024, 0.5, 128, True),
        (1024, 0.2, 16, False),
    ],
)
def test_a_chain_that_would_take_longer_is_left_alone(width: int, p: float, batch: int, pays: bool) -> None:
    thinning = thinnet.thin(network(width, p), torch.randn(batch, 784))
    assert thinning.thinned == (("2", "5") if pays else ())
    told = [note for note in thinning.notes if "ms longer" in note]
    assert len(told) == (0 if pays else 2) and all("always=True" in note for note in told)


def test_who_asks_for_it_thins_every_chain() -> None:
    model, x = network(64), torch.randn(4, 784)
    assert thinnet.thin(model, x, always=True).thinned == ("2", "5")
    thinnet.thin(model, undo=True)
    waiting = thinnet.thin(model, always=True)
    model.train()(x)
    assert waiting.thinned == ("2", "5")
    with pytest.raises(ValueError, match="always must be True or False; got 1"):
        thinnet.thin(network(64), x, always=1)  # type: ignore[arg-type]


def test_each_chain_is_judged_by_itself() -> None:
    """The narrow chain alone is left out, whose layers are cheap."""
    wide = [nn.Linear(784, 1024), nn.ReLU(), nn.Dropout(0.5), nn.Linear(1024, 16)]
    model = nn.Sequential(*wide, nn.ReLU(), nn.Linear(16, 24), nn.ReLU(), nn.Dropout(0.5), nn.Linear(24, 10))
    assert thinnet.thin(model, torch.randn(128, 784)).thinned == ("2",)


def test_more_threads_make_a_small_step_too_short_to_thin() -> None:
    x = torch.randn(64, 784)
    assert thinnet.thin(network(512), x).thinned
    torch.set_num_threads(64)
    assert not thinnet.thin(network(512), x).thinned


@pytest.mark.parametrize("case", ["float64", "rate 0", "rate 1"])
def test_where_nothing_is_known_a_chain_is_thinned(case: str) -> None:
    p, dtype = float(case[-1]) if "rate" in case else 0.5, torch.float64 if case == "float64" else torch.float32
    assert thinnet.thin(network(32, p, dtype), torch.randn(4, 784, dtype=dtype)).thinned == ("2", "5")


def test_a_convolution_counts_each_position() -> None:
    def convolutional(channels: int) -> nn.Module:
        first = nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.5)
        return nn.Sequential(*first, nn.Conv2d(channels, channels, 3, padding=1))

    assert thinnet.thin(convolutional(32), torch.randn(8, 3, 32, 32)).thinned == ("2",)
    assert not thinnet.thin(convolutional(32), torch.randn(1, 3, 2, 2)).thinned
