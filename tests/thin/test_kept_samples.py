"""Stochastic depth on the kept samples equals that of the whole batch; dropped layers do not run."""

import copy
import pickle
from typing import Any

import pytest
import torch
import torch._dynamo.testing
import torch.nn.functional as F
from assertions import assert_same_bits
from branched import assert_alike, results, rows_seen
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import thinnet
from thinnet.methods.residual.layer_drop import LayerDrop
from thinnet.methods.residual.stochastic_depth import StochasticDepth

DROPOUT = thinnet.nn.Dropout


class First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:1, :3]


def pair(p: float, skip: bool | None = None) -> tuple[nn.Module, nn.Module]:
    """Two nested blocks with dropout inside and the same masks; one of them skips work."""

    def branch() -> nn.Module:
        return nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 6), DROPOUT(0.3), nn.Linear(6, 4))

    nested = nn.Sequential(branch(), StochasticDepth(branch(), 0.4), branch())
    model = nn.Sequential(StochasticDepth(branch(), p, skip=skip), StochasticDepth(nested, p, skip=skip))
    dense = copy.deepcopy(model)
    for module in dense.modules():
        if isinstance(module, StochasticDepth):
            module.skip = False
    thinnet.DropoutRNG(5).bind(model).at(0)
    thinnet.DropoutRNG(5).bind(dense).at(0)
    return model, dense


def at(model: nn.Module, step: int, ids: Any) -> None:
    for module in model.modules():
        if isinstance(module, StochasticDepth):
            context: Any = module.context
            while hasattr(context, "context"):
                context = context.context
            return context.at(step, ids)
    raise AssertionError


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("p", [0.0, 0.02, 0.5, 0.9, 1.0])
def test_kept_samples_equal_the_masked_batch(p: float, dtype: torch.dtype) -> None:
    model, dense = pair(p)
    model.to(dtype), dense.to(dtype)
    seen = rows_seen(model[0].layer), rows_seen(dense[0].layer)
    for step, size in enumerate((1, 2, 7, 1, 2, 7)):
        ids = None if step < 2 else 40 if step < 3 else torch.randperm(100)[:size]
        at(model, step, ids), at(dense, step, ids)
        x = torch.randn(size, 3, 4, dtype=dtype)
        assert_alike(results(model, x), results(dense, x))
    assert sum(seen[0]) < sum(seen[1]) or p < 0.1
    assert sum(seen[0]) == 0 or p < 1


def test_only_kept_samples_run_and_inner_masks_keep_their_addresses() -> None:
    model = StochasticDepth(nn.Sequential(nn.Linear(4, 4), DROPOUT(0.5)), 0.5)
    rng, ids, x = thinnet.DropoutRNG(5).bind(model), torch.randperm(100)[:9], torch.ones(9, 4)
    seen = rows_seen(model.layer)
    for step in range(4):
        y = rng.at(step, ids) and model(x)
        kept = rng.mask("", step=step, samples=ids, shape=(1,))
        assert seen[-1] == int(kept.sum()) < 9
        mask = rng.mask("layer.1", step=step, samples=ids, shape=(4,)) & kept
        torch.testing.assert_close(y, x + torch.where(mask, model.layer[0](x) * 4, 0))


def test_with_no_kept_sample_the_branch_does_not_run_and_gradients_exist() -> None:
    block, x = StochasticDepth(nn.Linear(4, 4), 1.0), torch.randn(3, 4)
    seen, gradients = rows_seen(block.layer), results(block, x)
    assert not seen
    assert_same_bits(gradients[0], x)
    assert all(not bool(gradient.any()) for gradient in gradients[2:])
    assert block(torch.ones(0, 4)).shape == (0, 4)


def test_a_branch_that_combines_samples_runs_on_all_unless_forced() -> None:
    x = torch.randn(8, 4)
    auto, forced = (StochasticDepth(nn.BatchNorm1d(4), 0.5, skip=skip) for skip in (None, True))
    seen = rows_seen(auto.layer), rows_seen(forced.layer)
    auto(x), forced(x)
    kept = seen[1][0]
    assert seen[0] == [8] and 2 <= kept < 8
    auto.layer.eval()(x), auto(x)
    assert seen[0][-1] < 8
    for mixing in (nn.SyncBatchNorm(4), thinnet.nn.BatchwiseDropout(0.5, groups=2)):
        assert StochasticDepth(nn.Sequential(mixing), 0.5)._skips(x, ((), {})) is False
    assert StochasticDepth(nn.Sequential(nn.SyncBatchNorm(4)), 0.5, skip=True)._skips(x, ((), {})) is False
    assert StochasticDepth(nn.Sequential(thinnet.nn.BatchwiseDropout(0.5)), 0.5)._skips(x, ((), {})) is True


class Added(nn.Module):
    def forward(self, x: Tensor, other: Tensor, scale: float = 1.0) -> Tensor:
        return (x + other) * scale


def test_other_tensors_are_gathered_only_on_request() -> None:
    x, other = torch.randn(8, 8), torch.randn(8, 8)
    model = nn.ModuleList(StochasticDepth(Added(), 0.5, skip=skip) for skip in (None, True, False))
    seen = [rows_seen(block.layer) for block in model]
    for given, rows in ((x, (False, False, True)), (other, (True, False, True)), (torch.tensor(2.0), (False, False, True))):
        outs = []
        for block in model:
            torch.manual_seed(4)
            outs.append(block(x, given, scale=2.0))
        assert tuple(each[-1] == 8 for each in seen) == rows
        for out in outs[1:]:
            torch.testing.assert_close(outs[0], out)
    with pytest.raises(RuntimeError, match=r"must map . of them to as many; got an output of shape \(1, 3\). Use skip=False"):
        StochasticDepth(First(), 0.5)(torch.ones(9, 8))


def test_eval_transforms_and_copies_are_unchanged() -> None:
    block, x = StochasticDepth(nn.Linear(4, 4), 0.5), torch.randn(6, 4)
    assert_same_bits(block.eval()(x), x + block.layer(x))
    block.train()(x)
    for twin in (copy.deepcopy(block), pickle.loads(pickle.dumps(block))):
        torch.manual_seed(3)
        y = twin(x)
        torch.manual_seed(3)
        assert_same_bits(y, block(x))
    mapped = torch.func.vmap(block, randomness="different")(torch.randn(3, 6, 4))
    assert mapped.shape == (3, 6, 4)
    assert block.to("meta")(x.to("meta")).shape == (6, 4)
    assert list(block.state_dict()) == ["weight", "bias"]


@pytest.mark.parametrize("ids", [None, (7, 5, 3, 1, 2, 4)], ids=["rows", "ids"])
def test_a_checkpoint_inside_or_around_recomputes_the_same_masks(ids: Any) -> None:
    class Part(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            return checkpoint(super().forward, input, use_reentrant=False)  # type: ignore[return-value]

    def run(model: nn.Module, x: Tensor) -> Tensor:
        return checkpoint(model, x, use_reentrant=False)  # type: ignore[return-value]

    plain = nn.Sequential(StochasticDepth(nn.Sequential(nn.Linear(4, 4), DROPOUT(0.5), nn.Linear(4, 4)), 0.5))
    inside = copy.deepcopy(plain)
    inside[0].layer = Part(*inside[0].layer)
    x, gradients = torch.randn(6, 4, requires_grad=True), []
    for model, call in ((plain, nn.Module.__call__), (inside, nn.Module.__call__), (copy.deepcopy(plain), run)):
        rng = thinnet.DropoutRNG(3).bind(model).at(1, ids)
        gradients.append(torch.autograd.grad(call(model, x).square().sum(), [x, *model.parameters()]))
        rng.unbind()
    for others in gradients[1:]:
        for one, other in zip(gradients[0], others, strict=True):
            assert_same_bits(one, other)


def test_a_checkpoint_of_another_step_is_refused() -> None:
    class Part(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return checkpoint(lambda x: F.linear(drop(x), self.weight), input, use_reentrant=False)  # type: ignore[return-value]

    drop = DROPOUT(0.5)
    model = StochasticDepth(nn.Sequential(Part(4, 4), drop), 0.5)
    rng = thinnet.DropoutRNG(3).bind(model).at(0)
    x = torch.randn(6, 4, requires_grad=True)
    y = model(x)
    rng.at(1)
    with pytest.raises(RuntimeError, match="must recompute its last forward pass; got a pass of another step"):
        y.sum().backward()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="skip must be True, False or None; got 'no'"):
        StochasticDepth(nn.Linear(2, 2), skip="no")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="skip must be left out in mode 'batch'"):
        StochasticDepth(nn.Linear(2, 2), mode="batch", skip=False)
    assert "skip=True" in repr(StochasticDepth(nn.Linear(2, 2), skip=True))


def test_dropped_layers_do_not_run() -> None:
    stack = LayerDrop([nn.Linear(3, 3) for _ in range(8)], 0.5)
    block = StochasticDepth(nn.Linear(3, 3), 0.5, mode="batch")
    model = nn.Sequential(stack, block)
    rng, seen = thinnet.DropoutRNG(1).bind(model), [rows_seen(layer) for layer in (*stack.children(), block.layer)]
    rng.at(0)
    model(torch.ones(5, 3))
    kept = [
        *rng.mask("0", step=0, samples=[0], shape=(8,))[0].tolist(),
        bool(rng.mask("1", step=0, samples=[0], shape=(1,))),
    ]
    assert [bool(each) for each in seen] == kept
    assert not all(kept)


def test_sites_sees_the_whole_batch() -> None:
    x = torch.randn(16, 4)
    tables = [str(thinnet.sites(nn.Sequential(StochasticDepth(nn.Linear(4, 4), 0.3, skip=skip)), x)) for skip in (None, False)]
    assert tables[0] == tables[1] and "dropout  0.3" in tables[0]
