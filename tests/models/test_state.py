"""`preserve_state` restores every tensor, gradient, attribute and generator; `sites`, `audit` and `sample` rely on it."""

import functools
import random
from typing import Any

import numpy
import pytest
import torch
import torch.nn.functional as F
from assertions import assert_same_bits
from torch import Tensor, nn

import thinnet
from thinnet.models.state import preserve_state

X = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))


class Quantised(nn.Module):
    """Writes noise into its weights, as fairseq's `quant_noise` does, and counts its passes in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.drop, self.two = nn.Linear(8, 16), nn.Dropout(0.3), nn.Linear(16, 4)
        self.one.register_forward_pre_hook(self.quantise)
        self.register_buffer("passes", torch.zeros(()))

    def quantise(self, module: nn.Module, args: Any) -> None:
        mask = torch.zeros_like(module.weight).bernoulli_(0.5).bool()  # type: ignore[arg-type]
        module.weight.data = module.weight.data.masked_fill(mask, 0)  # type: ignore[union-attr,operator]

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.two.weight.data.mul_(0.5)
        return self.two(torch.relu(self.drop(self.one(x))) * torch.empty(1).bernoulli_(0.9))


class Scaled(Tensor):
    """A wrapper subclass with two inner tensors, as quantised weights are; it implements few operations."""

    @staticmethod
    def __new__(cls, numbers: Tensor, scale: Tensor) -> "Scaled":
        return Tensor._make_wrapper_subclass(cls, numbers.shape, dtype=scale.dtype)  # type: ignore[attr-defined]

    def __init__(self, numbers: Tensor, scale: Tensor) -> None:
        self.numbers, self.scale = numbers, scale

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["numbers", "scale"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], context: None, size: Any, stride: Any) -> "Scaled":
        return Scaled(inner["numbers"], inner["scale"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.detach.default:
            return cls(args[0].numbers, args[0].scale)
        raise NotImplementedError(func)


def test_memory_and_values_are_restored_after_writes_through_data() -> None:
    model = Quantised()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    memory = {name: value.data_ptr() for name, value in model.state_dict().items()}
    with preserve_state(model):
        model(X)
        model.drop.weight = nn.Parameter(torch.ones(1))
        assert not model.one.weight.equal(before["one.weight"])
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == memory
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_a_parameter_that_changes_its_dtype_gets_its_dtype_back() -> None:
    layer = nn.Linear(2, 2)
    weight = layer.weight.detach().clone()
    with preserve_state(layer):
        layer.double()
    assert_same_bits(layer.weight.detach(), weight)


def test_gradients_keep_their_values() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 4))
    model(X).square().mean().backward()
    held = [parameter.grad for parameter in model.parameters()]
    before = [gradient.clone() for gradient in held]
    with preserve_state(model):
        model(X).sum().backward()
        model.zero_grad()
    thinnet.audit(model, X)
    assert all(parameter.grad is gradient for parameter, gradient in zip(model.parameters(), held, strict=True))
    assert all(gradient.equal(old) for gradient, old in zip(held, before, strict=True))


def test_every_generator_that_a_module_reaches_is_restored() -> None:
    class Augmentation:
        def __init__(self) -> None:
            self.rng = numpy.random.default_rng(1)

    model = nn.Sequential(nn.Linear(2, 2))
    model.augment, model.streams = Augmentation(), {"old": [numpy.random.RandomState(2)], "own": (random.Random(3),)}
    model[0].generator = torch.Generator().manual_seed(4)

    def draw() -> list[float]:
        own = [model.augment.rng.random(), model.streams["old"][0].rand(), model.streams["own"][0].random()]
        everywhere = [float(torch.rand(())), random.random(), numpy.random.rand()]
        return [*own, float(torch.rand((), generator=model[0].generator)), *everywhere]

    with preserve_state(model):
        first = draw()
    assert draw() == first


class Slotted:
    """An object without a dictionary."""

    __slots__ = ("calls", "rng")

    def __init__(self) -> None:
        self.rng, self.calls = numpy.random.default_rng(5), 0


GLOBAL = numpy.random.default_rng(6)


class Hidden(nn.Module):
    """Reaches generators and changes values in every way that Python offers."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norms = nn.Linear(2, 2), [nn.BatchNorm1d(2)]
        self.partial = functools.partial(torch.rand, (), generator=torch.Generator().manual_seed(1))
        self.method = random.Random(2).random
        closure = numpy.random.RandomState(3)
        self.linear.register_forward_hook(lambda *args: self.seen.append(closure.rand()))
        self.slotted, self.seen, self.counts = Slotted(), [], {"passes": {"all": [0]}}
        self.cache, self.array = ({"keys": torch.zeros(2)},), numpy.zeros(2)
        self.scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2)))

    def forward(self, x: Tensor) -> list[float]:
        x = self.norms[0](self.scripted(self.linear(x)))
        self.slotted.calls += 1
        self.counts["passes"]["all"].append(1)
        self.cache[0]["keys"] += 1
        self.array += 1
        own = [float(self.partial()), self.method(), self.slotted.rng.random(), GLOBAL.random(), self.seen[-1]]
        return [*own, float(x.detach().sum())]


@pytest.mark.filterwarnings("ignore:`torch.jit.script")
def test_generators_and_values_are_restored_wherever_a_module_reaches_them() -> None:
    model, x = Hidden(), torch.randn(4, 2)
    with preserve_state(model) as state:
        first = model(x)
        model.eval()
        state.rewind()
        assert model(x) == first
        model(x)
    assert not model.seen and model.slotted.calls == 0 and model.counts == {"passes": {"all": [0]}}
    assert not model.cache[0]["keys"].any() and not model.array.any()
    assert model.scripted.training and model.scripted[1].training
    assert not model.norms[0].num_batches_tracked and not model.scripted[2].num_batches_tracked
    assert model(x) == first


class Refusing(Tensor):
    """A subclass with memory of its own that implements nothing but `detach`, which a parameter needs."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> "Refusing":
        return Tensor._make_subclass(cls, values)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.aten.detach.default:
            raise NotImplementedError(func)
        with torch._C._DisableTorchDispatch():
            return Tensor._make_subclass(cls, args[0])


def test_a_subclass_that_refuses_every_operation_is_restored_by_its_memory() -> None:
    model, values = nn.Linear(2, 2), torch.ones(2, 2)
    model.weight = nn.Parameter(Refusing(values), requires_grad=False)
    with preserve_state(model) as state:
        values.zero_()
        assert state.changed([model.weight])
    assert values.all()


def test_a_seed_may_have_64_bits() -> None:
    with preserve_state(nn.Linear(2, 2), seed=(1 << 63) + 5):
        first = torch.rand(2), numpy.random.rand()
    with preserve_state(nn.Linear(2, 2), seed=(1 << 63) + 5):
        assert torch.rand(2).equal(first[0]) and numpy.random.rand() == first[1]


def test_a_wrapper_subclass_is_restored_by_its_inner_tensors() -> None:
    model = nn.Linear(2, 2)
    numbers, scale = torch.ones(2, 2, dtype=torch.int8), torch.tensor(0.5)
    model.weight = nn.Parameter(Scaled(numbers, scale), requires_grad=False)
    with preserve_state(model):
        numbers.zero_()
        model.weight.scale = torch.tensor(3.0)  # type: ignore[union-attr]
    assert model.weight.scale is scale and numbers.all()  # type: ignore[union-attr]


def test_containers_that_hold_tensors_are_restored() -> None:
    model = nn.Linear(2, 2)
    model.cache, model.state = [torch.zeros(2)], torch.zeros(2)
    first = model.cache[0]
    with preserve_state(model):
        model.cache.append(torch.ones(2))
        model.cache[0] = torch.ones(2)
        model.state += 1
    assert len(model.cache) == 1 and model.cache[0] is first and not model.state.any()


def test_a_parameter_that_a_pass_freezes_is_trained_again() -> None:
    class Freezing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.weight.requires_grad = False
            return super().forward(x)

    model = nn.Sequential(Freezing(8, 16), nn.Dropout(0.3), nn.Linear(16, 4))
    thinnet.audit(model, X)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_lazy_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^sites: every parameter must have values; got '0.weight' without"):
        thinnet.sites(nn.Sequential(nn.LazyLinear(4), nn.Dropout(0.3)), X)


def test_an_audit_leaves_the_buffers_of_a_spectral_norm() -> None:
    norm = nn.utils.parametrizations.spectral_norm
    model = nn.Sequential(norm(nn.Linear(8, 16)), nn.ReLU(), nn.Dropout(0.3), norm(nn.Linear(16, 4)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    thinnet.audit(model, X)
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_sample_leaves_the_weights_and_draws_each_time_from_them() -> None:
    model = Quantised().eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draws = thinnet.inference.sample(model, X, n=4).draws
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert draws[3].abs().max() > draws[0].abs().max() / 8  # each pass halves the last weights, and no draw sees the one before


def test_a_model_that_cannot_train_after_eval_is_put_back_in_between() -> None:
    class WeightDrop(nn.Module):
        """The weight drop of AWD-LSTM: in eval it leaves a parameter that training cannot overwrite."""

        def __init__(self, module: nn.Linear) -> None:
            super().__init__()
            self.module = module
            module.register_parameter("raw", nn.Parameter(module._parameters.pop("weight").data))  # type: ignore[union-attr]

        def forward(self, x: Tensor) -> Tensor:
            self.module.weight = F.dropout(self.module.raw, 0.5, self.training)  # type: ignore[assignment,arg-type]
            return self.module.forward(x)

    model = nn.Sequential(WeightDrop(nn.Linear(8, 8)), nn.Dropout(0.2), nn.Linear(8, 2))
    found = thinnet.sites(model, torch.randn(64, 8))
    assert [site.target for site in found] == ["weights", "activations"]
    with pytest.raises(TypeError, match="cannot assign"):
        model.eval()(X), model.train()(X)


GENERATOR = numpy.random.default_rng(0)
HELD = [random.Random(0)]


def helped() -> list[float]:
    return [HELD[0].random() for _ in range(2)]


def test_generators_in_closures_and_globals_go_on_as_before() -> None:
    enclosed = numpy.random.RandomState(0)

    class Draws(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * float(GENERATOR.random() + sum(helped()) + enclosed.rand())

    model = Draws()
    with preserve_state(model):
        first = model(X)
    assert_same_bits(model(X), first)
