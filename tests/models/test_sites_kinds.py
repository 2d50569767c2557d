"""What makes two draws one site, and the rate, the shared axes and the kind of hand-written randomness."""

import functools
import random
import threading
from collections.abc import Callable
from random import random as drawn_number
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.models.found import FoundSite

X = torch.randn(16, 10, 32, generator=torch.Generator().manual_seed(0))
GENERATOR = numpy.random.default_rng(0)
HELD = [random.Random(0)]


class Network(nn.Module):
    """Two layers around a function of the module and its activations."""

    def __init__(self, middle: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.one, self.two, self.middle = nn.Linear(32, 32), nn.Linear(32, 32), middle
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.middle(self, self.one(x)))


def the_site(middle: Callable[..., Any], **attributes: Any) -> FoundSite:
    (site,) = thinnet.sites(Network(middle, **attributes), X)
    return site


class Locked(nn.Module):
    """Drops by a rate that the caller gives."""

    def forward(self, x: Tensor, p: float) -> Tensor:
        return x * x.new_empty(len(x), 1, x.shape[2]).bernoulli_(1 - p) / (1 - p) if self.training else x


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if args[0].training:
            return function(*args, **kwargs)
        return function(*args, **kwargs)

    return wrapper


class Called(nn.Module):
    """Calls one module, or one method, on several lines, in a loop, through wrappers and recursively."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.locked, self.linear = how, Locked(), nn.Linear(32, 32)

    def helper(self, x: Tensor, p: float = 0.5) -> Tensor:
        return F.dropout(self.linear(x), p, self.training)

    @passing
    def wrapped(self, x: Tensor) -> Tensor:
        return F.dropout(self.linear(x), 0.5)

    def recursive(self, x: Tensor, depth: int) -> Tensor:
        return x if depth == 0 else self.recursive(F.dropout(self.linear(x), 0.5, self.training), depth - 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "module":
            x = self.locked(x, 0.1)
            x = self.locked(x, 0.4)
            return self.locked(x, 0.6)
        if self.how == "method":
            x = self.helper(x, 0.2)
            return self.helper(x, 0.6)
        if self.how == "loop":
            for p in (0.1, 0.3):
                x = self.locked(x, p)
            return x
        if self.how == "checkpoint":
            return checkpoint(self.helper, x, use_reentrant=False) if self.training else self.helper(x)
        return self.wrapped(x) if self.how == "wrapper" else self.recursive(x, 3)


CALLS = {  # how -> the rates of the sites, and the draws of each in a pass
    "module": ((0.1, 0.4, 0.6), 1),
    "method": ((0.2, 0.6), 1),
    "loop": ((0.2,), 2),
    "checkpoint": ((0.5,), 1),
    "wrapper": ((0.5,), 1),
    "recursion": ((0.5,), 3),
}


@pytest.mark.parametrize("how", CALLS)
def test_a_site_is_a_module_and_its_chain_of_calling_lines(how: str) -> None:
    found = thinnet.sites(Called(how), X)
    rates, draws = CALLS[how]
    assert [site.p for site in found] == pytest.approx(list(rates)) and {site.draws for site in found} == {draws}
    assert all(abs((site.measured or 0) - (site.p or 0)) < 0.06 and site.kind == "dropout" for site in found)
    assert len(set(found.places())) == len(found)


def test_lines_that_depend_on_the_mode_are_one_site_in_a_wrapper() -> None:
    (site,) = thinnet.sites(Called("wrapper"), X)
    assert (site.on_in_train, site.on_in_eval, len(site.calls)) == (True, True, 1)


def test_each_call_of_a_generated_forward_is_a_site() -> None:
    graph = fx.symbolic_trace(Network(lambda self, x: F.dropout(F.dropout(x, 0.2).relu(), 0.4)))
    assert [site.p for site in thinnet.sites(graph, X)] == [0.2, 0.4]


RATES = {  # a rate of 0.3 in many forms
    "bernoulli of data, with a keep probability": lambda self, x: x * torch.bernoulli(x.detach(), p=0.7) / 0.7,
    "a comparison with one": lambda self, x: torch.where(torch.bernoulli(x.detach(), p=0.7) == 1, x, 0.0) / 0.7,
    "a comparison with zero": lambda self, x: x.masked_fill(torch.empty_like(x).bernoulli_(0.7) == 0, 0.0) / 0.7,
    "numbers below": lambda self, x: x * (torch.rand_like(x) < 0.7) / 0.7,
    "numbers above": lambda self, x: x * (0.3 <= torch.rand_like(x)) / 0.7,
    "a tensor as rate": lambda self, x: x * (torch.rand_like(x) > torch.tensor(0.3)) / 0.7,
    "a tensor before the numbers": lambda self, x: x * (torch.tensor(0.7) > torch.rand_like(x)) / 0.7,
    "a buffer as rate": lambda self, x: x * (torch.rand_like(x) < self.keep) / self.keep,
    "numbers from one down": lambda self, x: x * (1 - torch.rand_like(x) < 0.7) / 0.7,
    "numbers of another range": lambda self, x: x * (torch.empty_like(x).uniform_(-1, 1) < 0.4) / 0.7,
    "rounding down": lambda self, x: x / 0.7 * (0.7 + torch.rand_like(x)).floor(),
    "one minus the dropped": lambda self, x: x * (1 - torch.empty_like(x).bernoulli_(0.3)) / 0.7,
    "the opposite": lambda self, x: x * ~(torch.rand_like(x) < 0.3) / 0.7,
    "a scaled mask": lambda self, x: x * (torch.empty_like(x).bernoulli_(0.7) * (1 / 0.7)),
    "a distribution": lambda self, x: x * torch.distributions.Bernoulli(0.7).sample(x.shape) / 0.7,
    "an assignment": lambda self, x: x.clone().index_put_((torch.rand(x.shape) < 0.3,), torch.zeros(())) / 0.7,
}


@pytest.mark.parametrize("form", RATES)
def test_the_rate_is_what_the_operations_state(form: str) -> None:
    site = the_site(RATES[form], keep=nn.Buffer(torch.tensor(0.7)))
    assert (site.kind, site.p, site.sharing) == ("dropout", pytest.approx(0.3), "none")
    assert abs((site.measured or 0) - 0.3) < 0.02 and site.scale == pytest.approx(1 / 0.7, rel=0.02)


def test_a_rate_that_is_taken_for_a_keep_probability_does_not_fit_its_scale() -> None:
    """As in SpeechT5 of transformers: 0.3 is asked for, 0.7 is dropped."""

    def middle(self: Network, x: Tensor) -> Tensor:
        mask = torch.bernoulli(x[0].detach(), p=0.3).unsqueeze(0).repeat(len(x), 1, 1)
        return torch.where(mask == 1, x, 0) * 1 / (1 - 0.3)

    site = the_site(middle)
    assert (site.p, site.sharing, site.scale) == (pytest.approx(0.7), "axis 0 of 3", pytest.approx(1 / 0.7))


DECISIONS = {  # decisions of three branches, at a rate of 0.3
    "elements of a tensor": lambda self: torch.rand(3) < 0.3,
    "a list of decisions": lambda self: (torch.rand(3) < 0.3).tolist(),
    "a list of numbers": lambda self: [u < 0.3 for u in torch.rand(3).tolist()],
    "items": lambda self: [torch.rand(()).item() < 0.3 for _ in range(3)],
    "random": lambda self: [random.random() < 0.3 for _ in range(3)],
    "uniform": lambda self: [random.uniform(-1, 1) > 0.4 for _ in range(3)],
    "an imported function": lambda self: [drawn_number() < 0.3 for _ in range(3)],
    "numpy": lambda self: [numpy.random.rand() < 0.3 for _ in range(3)],
    "binomial": lambda self: [numpy.random.binomial(1, 0.3) for _ in range(3)],
    "a generator in a list": lambda self: [HELD[0].random() < 0.3 for _ in range(3)],
}


@pytest.mark.parametrize("form", DECISIONS)
def test_decisions_have_the_rate_that_they_are_compared_with(form: str) -> None:
    def middle(self: Network, x: Tensor) -> Tensor:
        for drop in DECISIONS[form](self):
            x = x if drop else x + self.two(x)
        return x

    site = the_site(middle)
    assert (site.kind, site.p, site.on_in_eval) == ("decision", pytest.approx(0.3), True)


def test_draws_of_other_threads_are_not_the_model_s() -> None:
    def elsewhere() -> None:
        random.random(), random.seed(), torch.rand(3).tolist()

    def middle(self: Network, x: Tensor) -> Tensor:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return x

    assert not thinnet.sites(Network(middle), X)


@pytest.mark.parametrize("source", ["attribute", "closure", "global", "list"])
@pytest.mark.parametrize("kind", [numpy.random.default_rng, numpy.random.RandomState, random.Random])
def test_generator_objects_are_recorded(source: str, kind: Callable[[int], Any]) -> None:
    enclosed = kind(0)
    globals()["GENERATOR"] = kind(0)
    sources: dict[str, Callable[..., Any]] = {
        "attribute": lambda self: self.generator,
        "closure": lambda self: enclosed,
        "global": lambda self: GENERATOR,
        "list": lambda self: self.generators[0],
    }

    def middle(self: Network, x: Tensor) -> Tensor:
        rng = sources[source](self)
        keep = [[(rng.random_sample() if hasattr(rng, "random_sample") else rng.random()) > 0.5] for _ in x]
        return x * torch.tensor(keep)[:, None] * 2 if self.training else x

    site = the_site(middle, generator=kind(0), generators=[kind(0)])
    assert (site.kind, site.on_in_train, site.on_in_eval, site.effect) == ("decision", True, False, None)


SHARED = {  # one mask for the batch
    "broadcast": lambda x: torch.empty(1, 10, 32).bernoulli_(0.5) / 0.5,
    "fewer axes": lambda x: torch.empty(10, 32).bernoulli_(0.5) / 0.5,
    "expand_as": lambda x: (torch.empty(1, 10, 32).bernoulli_(0.5) / 0.5).expand_as(x),
    "scaled after expand": lambda x: torch.empty(1, 10, 32).bernoulli_(0.5).expand(16, -1, -1) / 0.5,
    "repeat": lambda x: (torch.empty(1, 10, 32).bernoulli_(0.5) / 0.5).repeat(16, 1, 1),
    "tile": lambda x: (torch.rand(1, 10, 32) < 0.5).tile(16, 1, 1) / 0.5,
    "repeat_interleave": lambda x: (torch.rand(1, 10, 32) < 0.5).repeat_interleave(16, 0) / 0.5,
    "stack": lambda x: torch.stack([(torch.rand(10, 32) < 0.5).float() / 0.5] * 16),
    "transposed": lambda x: (torch.rand(32, 10) < 0.5).expand(16, 32, 10).transpose(1, 2).contiguous() / 0.5,
}


@pytest.mark.parametrize("form", SHARED)
def test_copies_of_a_mask_are_shared_axes(form: str) -> None:
    site = the_site(lambda self, x: x * SHARED[form](x))
    assert (site.kind, site.p, site.sharing) == ("dropout", 0.5, "axis 0 of 3")
    low, high = site.interval or (0, 0)
    assert high - low > 2 * 2.57 * 0.5 / (8 * 320) ** 0.5 * 0.99  # each number counts once


def test_an_axis_of_one_element_counts_as_shared_beside_a_shared_axis() -> None:
    path = the_site(lambda self, x: x[:, :1] * torch.empty(16, 1, 1).bernoulli_(0.5))
    units = the_site(lambda self, x: x[:, :1] * torch.empty(16, 1, 32).bernoulli_(0.5))
    assert (path.sharing, units.sharing) == ("axes 1, 2 of 3", "none")


def test_the_rarer_side_of_a_selection_replaces_the_other() -> None:
    assert the_site(lambda self, x: torch.where(torch.rand_like(x) < 0.2, x.sin(), x)).p == 0.2  # as in zoneout
    assert the_site(lambda self, x: torch.where(torch.rand_like(x) < 0.8, x, x.sin())).p == pytest.approx(0.2)


def test_a_module_named_as_dropout_states_the_rate_of_its_subset() -> None:
    class PatchDropout(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prob = 0.4

        def forward(self, x: Tensor) -> Tensor:
            kept = torch.randn(len(x), 10).topk(6, dim=-1).indices
            return x[torch.arange(len(x))[:, None], kept] if self.training else x

    (site,) = thinnet.sites(nn.Sequential(PatchDropout()), X)
    assert (site.kind, site.p, site.measured) == ("subset", 0.4, pytest.approx(0.4))


def test_a_whole_number_is_a_probability() -> None:
    assert the_site(lambda self, x: x * torch.empty_like(x).bernoulli_(1)).p == 0.0


def test_a_small_rate_shares_no_axis() -> None:
    assert the_site(lambda self, x: F.dropout(x[:2, :2], 0.001)).sharing == "none"


KINDS = {  # what is no dropout -> kind
    "a latent variable": (lambda self, x: x + torch.randn_like(x) * x.exp(), "additive noise"),
    "a latent variable, scaled": (lambda self, x: x + 0.1 * torch.randn_like(x) * x.exp(), "additive noise"),
    "rsample": (lambda self, x: torch.distributions.Normal(x, x.exp()).rsample(), "additive noise"),
    "sample": (lambda self, x: torch.distributions.Normal(x, x.exp()).sample(), "additive noise"),
    "gumbel": (lambda self, x: F.gumbel_softmax(x), "additive noise"),
    "a weight sample": (lambda self, x: F.linear(x, self.one.weight + torch.randn(32, 32) * 0.1), "additive noise"),
    "hashing": (lambda self, x: x + (x @ torch.randn(32, 4)).argmax(-1, keepdim=True), "random projection"),
    "hashing by einsum": (
        lambda self, x: x + torch.einsum("bld,dhr->blhr", x, torch.randn(32, 2, 4)).argmax(-1).sum(-1, keepdim=True),
        "random projection",
    ),
    "style mixing": (lambda self, x: torch.cat([x[:, : (cut := random.randint(1, 9))], x[:, cut:] * 2], 1), "choice"),
    "some of all": (lambda self, x: x[:, random.sample(range(10), 5)], "choice"),
    "an expert": (lambda self, x: x * [1.0, 2.0][int(torch.randint(2, ()))], "choice"),
    "another order": (lambda self, x: x + 0.1 * x[torch.randperm(len(x))], "choice"),
    "mixing": (lambda self, x: x * torch.distributions.Beta(2.0, 2.0).sample(), "multiplicative noise"),
    "a learned token": (lambda self, x: torch.where(torch.rand(16, 10, 1) < 0.3, self.two.bias, x), "masking"),
    "a seed": (lambda self, x: [torch.manual_seed(3), x][1], "reseeding"),
    "numpy's seed": (lambda self, x: [numpy.random.seed(3), x][1], "reseeding"),
    "what nobody reads": (lambda self, x: [torch.rand(3), x][1], "no use"),
}


@pytest.mark.parametrize("form", KINDS)
def test_other_randomness_has_a_kind_of_its_own(form: str) -> None:
    middle, kind = KINDS[form]
    site = the_site(middle, dropout=0.2)
    used = kind != "no use"
    assert (site.kind, site.p, site.on_in_train, site.on_in_eval) == (kind, 0.3 if kind == "masking" else None, used, used)
    assert site.is_random == (used and kind != "reseeding")


def test_noise_times_what_it_is_added_to_is_multiplicative() -> None:
    assert the_site(lambda self, x: x + x * torch.randn_like(x) * 0.3).kind == "multiplicative noise"
    assert the_site(lambda self, x: x * (1 + torch.randn_like(x) * 0.3)).kind == "multiplicative noise"


def test_picked_places_that_are_written_to_are_masking() -> None:
    def middle(self: Network, x: Tensor) -> Tensor:
        kept, rows = torch.rand(len(x), 10).argsort(1)[:, :4], torch.arange(len(x))[:, None]
        everything = torch.zeros_like(x)
        everything[rows, kept] = x[rows, kept].tanh()
        return everything

    assert the_site(middle).kind == "masking"


@pytest.mark.parametrize("restores", [True, False])
def test_a_subset_that_the_model_puts_back_is_masking(restores: bool) -> None:
    def middle(self: Network, x: Tensor) -> Tensor:
        order = torch.rand(len(x), 10).argsort(1)
        kept = x.gather(1, order[:, :4, None].expand(-1, -1, 32))
        if not restores:
            return kept
        everything = torch.cat([kept, torch.zeros(len(x), 6, 32)], 1)
        return everything.gather(1, order.argsort(1)[..., None].expand(-1, -1, 32))

    site = the_site(middle)
    assert (site.kind, site.measured) == ("masking" if restores else "subset", pytest.approx(0.6))


def test_a_rate_is_not_borrowed_from_another_draw() -> None:
    def middle(self: Network, x: Tensor) -> Tensor:
        x = x + (x @ torch.randn(32, 4)).argmax(-1, keepdim=True)
        return F.dropout(x, self.dropout, self.training)  # type: ignore[arg-type]

    assert [site.p for site in thinnet.sites(Network(middle, dropout=0.2), X)] == [None, 0.2]


NUMBERS: dict[str, Callable[[], Any]] = {
    "python": lambda: random.random(),
    "numpy": lambda: numpy.random.uniform(0, 1),
    "torch": lambda: torch.rand(()).item(),
    "generator": lambda: GENERATOR.random(),
}


@pytest.mark.parametrize("source", NUMBERS)
@pytest.mark.parametrize("read", ["in training", "always"])
def test_a_number_counts_in_eval_only_if_the_output_depends_on_it(source: str, read: str) -> None:
    globals()["GENERATOR"] = numpy.random.default_rng(0)

    def middle(self: Network, x: Tensor) -> Tensor:
        skip = NUMBERS[source]() < (0.02 if source != "generator" else 0.5)
        return x if skip and (self.training or read == "always") else self.two(x)

    site = the_site(middle)
    assert (site.kind, site.on_in_train, site.on_in_eval) == ("decision", True, read == "always")
    assert site.turned_off_by == ("never" if read == "always" else "module mode")


@pytest.mark.parametrize("applied", [True, False])
def test_a_rate_of_attention_in_the_configuration_is_listed_if_nothing_draws_with_it(applied: bool) -> None:
    """As in BigBird of transformers: its sparse attention drops nothing."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config, self.out, self.drop = SimpleNamespace(attention_dropout=0.1), nn.Linear(32, 32), nn.Dropout(0.1)

        def forward(self, x: Tensor) -> Tensor:
            weights = torch.softmax(x @ x.mT, -1)
            weights = self.drop(weights) if applied else weights
            return x + self.drop(self.out(weights @ x))

    kinds = [site.kind for site in thinnet.sites(Attention(), X)]
    assert kinds == ["dropout", "dropout" if applied else "not applied"]


def test_a_rate_of_attention_that_the_model_does_not_have_is_not_listed() -> None:
    """As in Reformer with local attention alone, whose configuration has rates of two kinds, and in convolutional encoders."""

    class LocalAttention(nn.Linear):
        config = SimpleNamespace(lsh_attention_dropout=0.1)

    class Mixer(nn.Linear):
        config = SimpleNamespace(attention_dropout=0.1)

    assert not thinnet.sites(LocalAttention(32, 32), X) and not thinnet.sites(Mixer(32, 32), X)


@torch.library.custom_op("thinnet_tests::attention", mutates_args=())
def fused_attention(q: Tensor, k: Tensor, v: Tensor, dropout_p: float) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


@pytest.mark.parametrize("follows_mode", [True, False])
def test_a_kernel_with_a_rate_is_a_site(follows_mode: bool) -> None:
    site = the_site(lambda self, x: fused_attention(x, x, x, 0.1 if self.training or not follows_mode else 0.0))
    assert (site.kind, site.p, site.on_in_eval) == ("multiplicative noise", 0.1, not follows_mode)


def flash_attn_func(q: Tensor, k: Tensor, v: Tensor, dropout_p: float = 0.0) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)  # as a kernel that draws on its own


def attention_by_mode(q: Tensor, k: Tensor, v: Tensor, dropout_p: float, training: bool) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p if training else 0.0)


@pytest.mark.parametrize("follows_mode", [True, False])
def test_a_function_of_attention_with_a_rate_is_a_site(follows_mode: bool) -> None:
    site = the_site(lambda self, x: flash_attn_func(x, x, x, 0.1 if self.training or not follows_mode else 0.0))
    assert (site.op, site.p, site.on_in_eval) == ("flash_attn_func", 0.1, not follows_mode)


def test_an_attention_function_that_asks_for_the_mode_is_off_in_eval() -> None:
    site = the_site(lambda self, x: attention_by_mode(x, x, x, dropout_p=0.1, training=self.training))
    assert (site.kind, site.p, site.on_in_eval) == ("dropout", 0.1, False)


@pytest.mark.parametrize("applied", [True, False])
def test_a_rate_of_attention_that_is_not_applied_is_listed(applied: bool) -> None:
    def middle(self: Network, x: Tensor) -> Tensor:
        p = self.attention_dropout if self.training and applied else 0.0
        x = F.scaled_dot_product_attention(x, x, x, dropout_p=p)  # type: ignore[arg-type]
        return F.dropout(self.two(x), 0.1, self.training)

    found = thinnet.sites(Network(middle, attention_dropout=0.1), X)
    assert [site.kind for site in found] == ["dropout", "dropout" if applied else "not applied"]
    assert found[1].p == 0.1


@pytest.mark.parametrize("trains", [True, False])
def test_the_effect_of_each_site_is_known_with_and_without_gradients(trains: bool) -> None:
    class Effects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.zero, self.linear = nn.Linear(32, 32), nn.Linear(32, 32)
            nn.init.zeros_(self.zero.weight)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.zero(F.dropout(x, 0.2))
            hidden = hidden + F.dropout(self.linear(x), 0.3)
            return hidden + F.dropout(self.linear(x), 0.4).argmax(-1, keepdim=True)

    found = thinnet.sites(Effects().requires_grad_(trains), X)
    assert {site.p: site.effect for site in found} == {0.2: False, 0.3: True, 0.4: True}
