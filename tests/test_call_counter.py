"""Calls and views of shared modules, in eager, compiled, copied, wrapped and recomputed runs."""

import copy
import pickle
from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
import torch._dynamo.testing
import torch.distributed as dist
from assertions import assert_same_bits
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet

UNITS = 64


class Shared(nn.Module):
    """Uses `drop` three times, `once` once; the middle part may be checkpointed. Returns the masks that it applied."""

    def __init__(self, context=None, reentrant: bool = False, checkpointed: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(UNITS))
        self.drop, self.once = thinnet.nn.Dropout(0.5), thinnet.nn.Dropout(0.5)
        self.checkpointed, self.reentrant, self.context = checkpointed, reentrant, context

    def middle(self, x: Tensor) -> Tensor:
        return self.once(self.drop(x * self.weight).exp()) * self.weight

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.drop(x)
        if self.checkpointed:
            more = {"context_fn": self.context} if self.context else {}
            middle = checkpoint(self.middle, x, use_reentrant=self.reentrant, preserve_rng_state=False, **more)
        else:
            middle = self.middle(x)
        return first, middle, self.drop(x)


def bound(**options) -> tuple[Shared, thinnet.DropoutRNG, Tensor]:
    model = Shared(**options)
    return model, thinnet.DropoutRNG(7).bind(model).at(5, [3, 1, 4]), torch.ones(3, UNITS, requires_grad=True)


def expected(rng: thinnet.DropoutRNG, site: str, call: int, view: int = 0) -> Tensor:
    return rng.mask(site, step=5, samples=[3, 1, 4], shape=(UNITS,), call=call, view=view)


def gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(sum(part.square().sum() for part in model(x)), [x, *model.parameters()]))


def assert_addressed(outputs: tuple[Tensor, ...], rng: thinnet.DropoutRNG, view: int = 0) -> None:
    """The first and the last mask are calls 0 and 2 of `drop`, the middle one is call 0 of `once`."""
    assert torch.equal(outputs[0] != 0, expected(rng, "drop", 0, view))
    assert torch.equal(outputs[2] != 0, expected(rng, "drop", 2, view))
    assert torch.equal(outputs[1] != 0, expected(rng, "once", 0, view))
    assert torch.equal(outputs[1] > 3, expected(rng, "once", 0, view) & expected(rng, "drop", 1, view))


def test_each_use_in_a_forward_pass_has_its_own_address() -> None:
    model, rng, x = bound()
    first = model(x)
    assert_addressed(first, rng)
    assert len({tuple(expected(rng, "drop", call).flatten().tolist()) for call in range(3)}) == 3
    for one, other in zip(first, model(x), strict=True):
        assert_same_bits(one, other)  # another forward pass at the same step has the same masks


def test_a_view_has_other_masks_and_the_same_ones_again() -> None:
    model, rng, x = bound()
    for view in (1, 0, 2**32 - 1, 1):
        with rng.view(view):
            assert_addressed(model(x), rng, view)
    with rng.view(1):
        with rng.view(2):
            assert_addressed(model(x), rng, 2)
        assert_addressed(model(x), rng, 1)
    assert_addressed(model(x), rng)


def test_a_siamese_model_can_have_equal_masks() -> None:
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = nn.Sequential(thinnet.nn.Dropout(0.5))

        def forward(self, x: Tensor, equal: bool) -> tuple[Tensor, Tensor]:
            with rng.call(0) if equal else nullcontext():
                return self.tower(x), self.tower(x)

    model, x = Siamese(), torch.ones(3, UNITS)
    rng = thinnet.DropoutRNG(7).bind(model).at(5)
    for run in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
        assert torch.equal(*run(x, True))
        assert not torch.equal(*run(x, False))


def test_a_forward_pass_that_failed_leaves_nothing_behind() -> None:
    model, rng, x = bound()
    with pytest.raises(RuntimeError):
        model(torch.ones(3, UNITS + 1))
    assert_addressed(model(x), rng)
    rng.context.calls.begin()  # a pass that Ctrl-C interrupts
    rng.at(5, [3, 1, 4])
    assert_addressed(model(x), rng)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_compiled_calls_and_views_need_two_graphs_for_any_number_of_steps(backend: str, checkpointed: bool) -> None:
    model, rng, x = bound(checkpointed=checkpointed)
    counter = torch._dynamo.testing.CompileCounterWithBackend(backend)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for step in range(4):
        rng.at(step, [3, 1, 4])
        rng.at(5, [3, 1, 4])
        assert_addressed(compiled(x), rng)
        model.checkpointed = False
        plain = gradients(model, x)
        model.checkpointed = checkpointed
        torch.testing.assert_close(gradients(compiled, x), plain)
        with rng.view(step + 1):
            assert_addressed(compiled(x), rng, step + 1)
    assert counter.frame_count == 2  # outside of views, and in them


def test_separately_compiled_parts_count_with_the_whole() -> None:
    model, rng, x = bound()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    drop = model.drop
    model.drop = torch.compile(drop, backend=counter, fullgraph=True)
    for _ in range(4):
        assert_addressed(model(x), rng)
    assert counter.frame_count == 3  # one for each call


def test_blocks_compiled_one_by_one_share_their_code() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), thinnet.nn.Dropout(0.5)) for _ in range(12)))
    rng, x = thinnet.DropoutRNG(1).bind(model), torch.randn(4, 8)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    eager = rng.at(0) and model(x)
    for block in model:
        block.compile(backend=counter, fullgraph=True)
    for _ in range(2):
        torch.testing.assert_close(model(x), eager)
    assert counter.frame_count == 1


def test_a_step_function_with_two_views_compiles_as_one_graph() -> None:
    model, rng, x = bound()

    def step(x: Tensor) -> tuple[Tensor, ...]:
        one = model(x)
        with rng.view(1):
            return *one, *model(x)

    outputs = torch.compile(step, backend="aot_eager", fullgraph=True)(x)
    assert_addressed(outputs[:3], rng)
    assert_addressed(outputs[3:], rng, 1)


def test_copies_pickles_and_wrapped_models_count_too() -> None:
    model, rng, x = bound()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        thinnet.rng_of(twin).at(5, [3, 1, 4])
        assert_addressed(twin(x), rng)
        assert_addressed(twin(x), rng)
        assert twin.drop.context is twin.once.context and twin.drop.context.calls.sites == [twin.drop, twin.once]
    assert_addressed(nn.DataParallel(model)(x), rng)
    rng.unbind()
    wrapped = torch.compile(nn.Sequential(model), backend="aot_eager")
    again = thinnet.DropoutRNG(7).bind(wrapped)
    assert list(again.sites) == ["0.drop", "0.once"]
    again.unbind()
    assert not model._forward_pre_hooks and not model._forward_hooks


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("first", ["bind", "wrap"])
def test_ddp_is_not_part_of_the_address(group: None, first: str) -> None:
    model, x = Shared(), torch.ones(3, UNITS)
    rng = thinnet.DropoutRNG(7)
    if first == "bind":
        rng.bind(model)
    parallel = nn.parallel.DistributedDataParallel(model)
    if first == "wrap":
        rng.bind(parallel)
    rng.at(5, [3, 1, 4])
    for _ in range(2):
        outputs = parallel(x)
        assert_addressed(outputs, rng)
        sum(part.sum() for part in outputs).backward()


def test_a_part_called_by_itself_takes_call_0_or_is_refused() -> None:
    model, rng, x = bound()
    for _ in range(2):
        assert torch.equal(model.drop(x) != 0, expected(rng, "drop", 0))
    model(x)
    assert torch.equal(model.once(x) != 0, expected(rng, "once", 0))
    with pytest.raises(RuntimeError, match=r"site 'drop': the last forward pass used it 3 times.*with rng\.call\(k\)"):
        model.drop(x)
    with rng.call(2):
        assert torch.equal(model.drop(x) != 0, expected(rng, "drop", 2))


def test_two_uses_are_ambiguous() -> None:
    model = nn.Sequential(layer := thinnet.nn.Dropout(0.5), layer)
    thinnet.DropoutRNG(0).bind(model).at(0)
    model(torch.ones(3, UNITS))
    with pytest.raises(RuntimeError, match="the last forward pass used it 2 times"):
        layer(torch.ones(3, UNITS))


def test_a_step_that_calls_the_parts_can_count_as_one_pass() -> None:
    model, rng, x = bound()
    for _ in range(2):
        with rng.forward():
            kept = [model.drop(x) != 0 for _ in range(3)]
        for call, mask in enumerate(kept):
            assert torch.equal(mask, expected(rng, "drop", call))


@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_of_a_shared_site_is_refused_with_the_remedy(reentrant: bool) -> None:
    model, _, x = bound(checkpointed=True, reentrant=reentrant)
    with pytest.raises(RuntimeError, match=r"site 'drop': .* used it 3 times.*context_fn=rng\.recompute"):
        gradients_by_backward(model, x)


def gradients_by_backward(model: nn.Module, x: Tensor) -> list[Tensor]:
    for value in (x, *model.parameters()):
        value.grad = None
    sum(part.square().sum() for part in model(x)).backward()
    return [value.grad for value in (x, *model.parameters())]


def test_first_remedy_the_part_sets_its_call() -> None:
    model, rng, x = bound()
    plain = gradients(model, x)

    def pinned(x: Tensor) -> Tensor:
        with rng.call(1):
            hidden = model.drop(x * model.weight).exp()
        return model.once(hidden) * model.weight

    model.middle, model.checkpointed = pinned, True
    assert_addressed(model(x), rng)
    torch.testing.assert_close(gradients_by_backward(model, x), plain)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(gradients_by_backward(compiled, x), plain)


@pytest.mark.parametrize("whole", [True, False])
def test_second_remedy_the_part_recomputes_in_its_own_context(whole: bool) -> None:
    model, rng, x = bound()
    plain = [gradients(model, x)]
    with rng.view(1):
        plain.append(gradients(model, x))
    model.context, model.checkpointed = rng.recompute, not whole
    losses = []
    for view in range(2):
        with rng.view(view) if view else nullcontext():
            again = (lambda x: checkpoint(model, x, use_reentrant=False, context_fn=rng.recompute)) if whole else model
            losses.append(sum(part.square().sum() for part in again(x)))
    rng.at(6, [0, 0, 0])
    model.drop.p = 0.9
    for loss, expected_gradients in zip(losses, plain, strict=True):
        x.grad = model.weight.grad = None
        loss.backward()
        torch.testing.assert_close([x.grad, model.weight.grad], expected_gradients)
    assert rng.step == 6 and model.drop.p == 0.9


def test_recomputation_after_another_view_is_refused() -> None:
    model = nn.Sequential(nn.Linear(UNITS, UNITS), thinnet.nn.Dropout(0.5), nn.Linear(UNITS, 1))
    rng, x = thinnet.DropoutRNG(1).bind(model).at(0), torch.randn(2, UNITS)

    def twice() -> Tensor:
        return checkpoint(model[1:], model[0](x), use_reentrant=False).sum()

    model.forward = lambda x: twice()
    one = model(x)
    with rng.view(1):
        other = model(x)
    with pytest.raises(RuntimeError, match=r"several views have run at this step.*context_fn=rng\.recompute"):
        (one + other).backward()
    rng.at(0)
    model(x).backward()


def test_a_backward_pass_inside_of_a_forward_pass_does_not_go_on_counting() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = thinnet.nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            x.grad = None
            checkpoint(lambda x: self.drop(x).square(), x, use_reentrant=False).sum().backward()
            return x.grad

    model, x = Inner(), torch.ones(3, UNITS, requires_grad=True)
    rng = thinnet.DropoutRNG(7).bind(model).at(5, [3, 1, 4])
    assert torch.equal(model(x), 8.0 * expected(rng, "drop", 0))


@pytest.mark.parametrize("name", ["view", "call"])
@pytest.mark.parametrize("number", [-1, 1 << 32, 0.5, True, None])
def test_bad_numbers(name: str, number: object) -> None:
    rng = thinnet.DropoutRNG().bind(Shared())
    with pytest.raises(ValueError, match=rf"^DropoutRNG.{name}: {name} must be an integer in 0 .. 2\^32 - 1; got {number}"):
        getattr(rng, name)(number)
    with pytest.raises(ValueError, match=rf"^DropoutRNG.mask: {name} must be an integer"):
        rng.mask("drop", step=0, samples=[0], shape=(3,), **{name: number})
