"""Rate schedules: values, patterns, eager and compiled models, saving and plotting."""

import copy
import importlib.util
import json
import pickle
import sys

import pytest
import torch
import torch._dynamo.testing
from assertions import assert_rate, assert_same_bits
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import thinnet
from thinnet.schedules import (
    Annealed,
    Constant,
    Cosine,
    Curriculum,
    DepthWise,
    Early,
    Late,
    Linear,
    Piecewise,
    Schedule,
    plot,
)

ROWS: list[tuple[Schedule, dict[int, float]]] = [
    (Constant(0.3), {0: 0.3, 10**6: 0.3}),
    (Linear(0.1, 0.5, steps=10), {0: 0.1, 5: 0.3, 10: 0.5, 11: 0.5}),
    (Linear(0.5, 0.1, steps=10), {0: 0.5, 5: 0.3, 10: 0.1, 11: 0.1}),
    (Cosine(0.0, 0.4, steps=10), {0: 0.0, 5: 0.2, 10: 0.4, 99: 0.4}),
    (Piecewise(((0, 0.2), (50, 0.0), (100, 0.2))), {0: 0.2, 25: 0.1, 50: 0.0, 75: 0.1, 100: 0.2, 999: 0.2}),
    (Piecewise(((7, 0.3),)), {0: 0.3, 7: 0.3, 8: 0.3}),
    (Early(0.5, cutoff=50), {0: 0.5, 10: 0.4, 49: 0.01, 50: 0.0, 300: 0.0}),
    (Early(0.1, cutoff=50, linear=False), {0: 0.1, 49: 0.1, 50: 0.0}),
    (Late(0.4, cutoff=50), {0: 0.0, 49: 0.0, 50: 0.4, 300: 0.4}),
    (Curriculum(0.5, gamma=0.01), {0: 0.0, 100: 0.3160602794, 10**6: 0.5}),
    (Annealed(0.5, steps=100), {0: 0.5, 50: 0.25, 100: 0.0, 101: 0.0}),
    (DepthWise(Linear(0.0, 0.4, steps=10)), {0: 0.0, 5: 0.2, 10: 0.4}),
]


def network() -> nn.Sequential:
    return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), thinnet.nn.Dropout(0.5)) for _ in range(3)))


@pytest.mark.parametrize(("schedule", "rates"), ROWS, ids=lambda value: type(value).__name__)
def test_values_at_the_start_the_cutoff_and_the_end(schedule: Schedule, rates: dict[int, float]) -> None:
    for step, p in rates.items():
        assert schedule(step) == pytest.approx(p, abs=1e-9)
    assert json.loads(json.dumps(schedule.plain())) == schedule.plain()
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    with pytest.raises(AttributeError):
        schedule.p = 0.9  # frozen


@given(st.sampled_from(ROWS), st.integers(0, 2**32 - 1))
def test_a_schedule_is_a_rate_at_every_step(row: tuple[Schedule, dict[int, float]], step: int) -> None:
    assert 0 <= row[0](step) <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(1.5), r"^Constant: p must be a number in \[0, 1\]; got 1.5"),
        (lambda: Constant(True), "p must be"),
        (lambda: Linear(-0.1, 0.5, steps=10), "^Linear: start must be"),
        (lambda: Linear(0.1, float("nan"), steps=10), "^Linear: stop must be"),
        (lambda: Linear(0.1, 0.5, steps=0), "^Linear: steps must be an integer of at least 1; got 0"),
        (lambda: Cosine(0.1, 0.5, steps=2.5), "^Cosine: steps must be"),
        (lambda: Piecewise(()), r"^Piecewise: points must be pairs \(step, rate\)"),
        (lambda: Piecewise([(0, 0.1)]), "^Piecewise: points must be pairs"),
        (lambda: Piecewise(((5, 0.1), (3, 0.2))), "^Piecewise: points must be in the order of their steps"),
        (lambda: Piecewise(((5, 1.1),)), "^Piecewise: the rate of a point must be"),
        (lambda: Piecewise(((-5, 0.1),)), "^Piecewise: the step of a point must be an integer of at least 0"),
        (lambda: Early(0.5, cutoff=0), "^Early: cutoff must be"),
        (lambda: Late("0.5", cutoff=3), "^Late: p must be"),
        (lambda: Curriculum(0.5, gamma=0), "^Curriculum: gamma must be a number above 0; got 0. Start with 10 / steps"),
        (lambda: Annealed(0.5, steps=-1), "^Annealed: steps must be"),
        (lambda: DepthWise(0.5), r"^DepthWise: schedule must be a schedule; got 0.5. Constant\(p\) is one"),
        (lambda: DepthWise(Constant(0.5), first=2), "^DepthWise: first must be"),
    ],
)
def test_bad_schedules_are_refused_when_they_are_made(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_at_sets_the_rates_and_unbind_gives_them_back() -> None:
    model = network()
    rng = thinnet.DropoutRNG(1, schedules={"[01].*": Linear(0.0, 0.4, steps=10)}).bind(model)
    assert [block[1].p for block in model] == [0.5, 0.5, 0.5]
    for step, p in ((0, 0.0), (5, 0.2), (10, 0.4), (5, 0.2)):
        rng.at(step)
        assert [block[1].p for block in model] == [p, p, 0.5]
    rng.unbind()
    assert [block[1].p for block in model] == [0.5, 0.5, 0.5]


def test_depth_is_counted_among_the_sites_of_a_pattern() -> None:
    model = network()
    rng = thinnet.DropoutRNG(1, schedules={"*": DepthWise(Linear(0.0, 0.6, steps=10), first=1 / 3)}).bind(model).at(5)
    assert [block[1].p for block in model] == pytest.approx([0.1, 0.2, 0.3])
    rng.unbind()
    thinnet.DropoutRNG(1, schedules={"2.1": DepthWise(Constant(0.6))}).bind(model).at(5)
    assert model[2][1].p == 0.6


def test_patterns_that_match_nothing_or_twice_are_refused_and_change_nothing() -> None:
    model = network()
    with pytest.raises(ValueError, match=r"pattern 'encoder\.\*' must match a site; the sites are \['0\.1', '1\.1', '2\.1'\]"):
        thinnet.DropoutRNG(schedules={"encoder.*": Constant(0.1)}).bind(model)
    with pytest.raises(ValueError, match=r"'1\.1' is matched by '\*' and '1\.\*'"):
        thinnet.DropoutRNG(schedules={"*": Constant(0.1), "1.*": Constant(0.2)}).bind(model)
    with pytest.raises(TypeError, match=r"schedules must be of thinnet.schedules; got 0\.1 for '\*'"):
        thinnet.DropoutRNG(schedules={"*": 0.1})
    thinnet.DropoutRNG().bind(model)  # the failed calls bound nothing


def test_twelve_rates_are_one_graph_and_the_rate_is_delivered() -> None:
    model = nn.Sequential(thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(1, schedules={"0": Linear(0.0, 0.55, steps=11)}).bind(model)
    counter = torch._dynamo.testing.CompileCounterWithBackend("inductor")
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(12):
        rng.at(step)
        y = compiled(torch.ones(4, 5000))
        assert_same_bits(y, model(torch.ones(4, 5000)))
        assert_rate(y == 0, thinnet.rng.rates.count(step * 0.05) / thinnet.rng.rates.RESOLUTION)
    assert counter.frame_count == 1


@pytest.mark.parametrize("copied", [False, True])
def test_twelve_blocks_compiled_one_by_one_have_twelve_rates_and_one_graph(copied: bool) -> None:
    model = nn.Sequential(*(nn.Sequential(thinnet.nn.Dropout(0.05 * (1 + block))) for block in range(12)))
    thinnet.DropoutRNG(1, schedules={"*.0": DepthWise(Linear(0.0, 0.6, steps=10), first=1 / 12)}).bind(model)
    model = copy.deepcopy(model) if copied else model
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    for block in model:
        block.compile(backend=counter, fullgraph=True)
    rng = thinnet.rng_of(model)
    for step in (10, 5, 0):
        rng.at(step)
        for number, block in enumerate(model):
            y = block(torch.ones(4, 5000))
            assert_same_bits(y, block[0](torch.ones(4, 5000)))
            p = 0.06 * step * (1 + number) / 12
            assert_rate(y == 0, thinnet.rng.rates.count(p) / thinnet.rng.rates.RESOLUTION)
    assert counter.frame_count == 1


def test_a_rate_that_starts_at_0_has_a_layer_to_drive() -> None:
    """A model built with `Dropout(p) if p > 0 else Identity()` has none, so its schedule has no effect."""
    model = nn.Sequential(thinnet.nn.Dropout(0.0))
    rng = thinnet.DropoutRNG(1, schedules={"0": Late(0.5, cutoff=3)}).bind(model)
    dropped = [int((rng.at(step) and model(torch.ones(1, 400)) == 0).sum()) for step in range(5)]
    assert dropped[:3] == [0, 0, 0] and min(dropped[3:]) > 0
    identity = nn.Sequential(nn.Identity())
    with pytest.raises(ValueError, match="the model has no site"):
        thinnet.DropoutRNG(1, schedules={"0": Late(0.5, cutoff=3)}).bind(identity)


def test_a_mask_has_the_rate_of_its_step() -> None:
    model = nn.Sequential(thinnet.nn.Dropout(0.5))
    rng = thinnet.DropoutRNG(1, schedules={"0": Linear(0.0, 0.5, steps=10)}).bind(model)
    y = rng.at(4, samples=[9]) and model(torch.ones(1, 999))
    rng.at(0)
    assert torch.equal(y != 0, rng.mask("0", step=4, samples=[9], shape=(999,)))


def test_state_carries_the_schedules_and_refuses_others() -> None:
    def rng(stop: float = 0.5) -> thinnet.DropoutRNG:
        return thinnet.DropoutRNG(1, schedules={"[01].*": DepthWise(Linear(0.0, stop, steps=10))}).bind(network())

    saved = rng().at(7)
    state = json.loads(json.dumps(saved.state_dict()))
    again = rng()
    again.load_state_dict(state)
    assert [site.p for site in again.sites.values()] == [site.p for site in saved.sites.values()]
    with pytest.raises(ValueError, match=r"'1\.1' has schedule .*'stop': 0\.4.*, saved .*'stop': 0\.5"):
        rng(0.4).load_state_dict(state)
    with pytest.raises(ValueError, match=r"'1\.1' has rate 0\.5, saved .*'Linear'"):
        thinnet.DropoutRNG(1).bind(network()).load_state_dict(state)


@pytest.mark.skipif(importlib.util.find_spec("plotly") is None, reason="plotly is not installed")
def test_plotting() -> None:
    rng = thinnet.DropoutRNG(1, schedules={"*": DepthWise(Linear(0.0, 0.4, steps=10))}).bind(network())
    figure = plot(rng, steps=20)
    assert [line.name for line in figure.data] == ["0.1", "1.1", "2.1"]
    assert list(figure.data[2].x) == list(range(21))
    assert list(figure.data[2].y)[5:11] == pytest.approx([0.2, 0.24, 0.28, 0.32, 0.36, 0.4])
    assert len(plot(Late(0.4, cutoff=50), steps=10**6).data[0].x) == 500
    with pytest.raises(ValueError, match="schedules must hold a schedule"):
        plot(thinnet.DropoutRNG(1), steps=5)
    with pytest.raises(ValueError, match="steps must be an integer of at least 1; got 0"):
        plot(Constant(0.1), steps=0)


def test_plotting_without_plotly_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(ImportError, match=r"^plot: plotly must be installed; it is not\. Run pip install plotly\."):
        plot(Constant(0.1), steps=5)
