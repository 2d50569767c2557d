"""Methods for the router of a mixture of experts."""

import pytest
import torch
from assertions import assert_rate, assert_same_bits

import thinnet
from thinnet.methods.experts import expert_dropout as experts
from thinnet.methods.experts.expert_dropout import ExpertDropout, expert_dropout
from thinnet.methods.experts.gating_dropout import GatingDropout, gating_dropout
from thinnet.ops import reference


def words(layer: thinnet.rng.Site, step: int, count: int) -> torch.Tensor:
    where = torch.tensor(11), torch.tensor(step), torch.tensor(thinnet.rng.site_number(layer.name)), torch.tensor([0])
    return (1 + reference.uniform(reference.noise(*where, count)[0])) / 2


@pytest.mark.parametrize(("p", "least"), [(0.3, 1), (0.5, 2), (0.9, 3), (1.0, 2), (0.0, 4)])
def test_experts_are_excluded_at_the_stated_rate_and_enough_stay(p: float, least: int) -> None:
    layer, x = ExpertDropout(p, least=least), torch.zeros(3, 5)
    stay = torch.stack([layer(x) for _ in range(4000)]) == 0
    assert bool((stay == stay[:, :1]).all())  # the same for all tokens of a batch
    assert int(stay[:, 0].sum(-1).min()) >= least
    assert_rate(~stay[:, 0, 0], experts.FACTS.expected_drop(p, 5, least))


def test_experts_equal_the_definition_and_follow_the_address() -> None:
    layer, x = ExpertDropout(0.5), torch.randn(6, 8)
    rng = thinnet.DropoutRNG(11).bind(layer)
    for step in range(5):
        rng.at(step)
        assert_same_bits(layer(x), experts.FACTS.definition(x, words(layer, step, 9), 0.5))
        rng.at(step, torch.tensor([7, 9]))
        assert_same_bits(layer(x[:2]), experts.FACTS.definition(x[:2], words(layer, step, 9), 0.5))
    assert layer.eval()(x) is x and expert_dropout(x, training=False) is x


def test_too_few_experts_and_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^ExpertDropout: least must be at most the number of experts, 3; got 4"):
        ExpertDropout(least=4)(torch.ones(2, 3))
    for least in (0, True, 1.5):
        with pytest.raises(ValueError, match=r"^ExpertDropout: least must be a positive integer"):
            ExpertDropout(least=least)


def test_a_local_step_keeps_local_experts_and_is_known_in_advance() -> None:
    local = torch.arange(8) < 3
    layer, x = GatingDropout(0.4, local=local), torch.randn(5, 8)
    rng = thinnet.DropoutRNG(11).bind(layer)
    here = []
    for step in range(2000):
        rng.at(step)
        y = layer(x)
        here.append(not torch.equal(y, x))
        if here[-1]:
            assert torch.equal(y[:, :3], x[:, :3]) and bool((y[:, 3:] == -torch.inf).all())
        if step < 20:
            assert bool(rng.mask(layer.name, step=step, samples=0, shape=(1,))) != here[-1]
    assert_rate(torch.tensor(here), 0.4)
    assert layer.eval()(x) is x and not layer.state_dict()


def test_a_wrong_mask_of_local_experts_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^GatingDropout: local must be a bool tensor"):
        GatingDropout(local=torch.ones(3))
    with pytest.raises(ValueError, match=r"^gating_dropout: local must be a bool tensor \(E,\) = \(4,\)"):
        gating_dropout(torch.ones(2, 4), local=torch.ones(3, dtype=torch.bool), training=True)
